#include "genview/foreground/mask.h"

#include <gtest/gtest.h>

namespace genview {
namespace {

int64_t At(const GrayImage& mask, int64_t x, int64_t y) { return mask.pixels[static_cast<size_t>(y * mask.width + x)]; }

TEST(MaskOfPicture, TokensBecomeSquaresOfTheirPixels) {
  const uint8_t foreground[] = {1, 0, 0, 1};
  const GrayImage mask = MaskOfPicture(foreground, 2, {.size = 8, .resize_shortest = 8}, 8, 8);
  for (int64_t y = 0; y < 8; ++y) {
    for (int64_t x = 0; x < 8; ++x) EXPECT_EQ(At(mask, x, y), (x < 4) == (y < 4) ? 255 : 0) << x << " " << y;
  }
}

// 16 x 8: the crop sees the middle 8 x 8; what it did not see is no foreground.
TEST(MaskOfPicture, OutsideTheCropIsBackground) {
  const uint8_t foreground[] = {1, 1, 1, 1};
  for (const auto& [width, height] : {std::pair<int64_t, int64_t>{16, 8}, {8, 16}, {32, 16}}) {
    const GrayImage mask = MaskOfPicture(foreground, 2, {.size = 8, .resize_shortest = 8}, width, height);
    const int64_t side = std::min(width, height), x0 = (width - side) / 2, y0 = (height - side) / 2;
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        const bool inside = x >= x0 && x < x0 + side && y >= y0 && y < y0 + side;
        EXPECT_EQ(At(mask, x, y), inside ? 255 : 0) << width << ": " << x << " " << y;
      }
    }
  }
}

TEST(MaskOfPicture, SquashedPicturesAreSeenWhole) {
  const uint8_t foreground[] = {0, 1, 0, 1};
  const GrayImage mask = MaskOfPicture(foreground, 2, {.size = 8, .resize_shortest = 8, .squash = true}, 10, 3);
  for (int64_t y = 0; y < 3; ++y) {
    for (int64_t x = 0; x < 10; ++x) EXPECT_EQ(At(mask, x, y), x >= 5 ? 255 : 0);
  }
}

TEST(MaskOverlap, IsIntersectionOverUnion) {
  GrayImage a(4, 1), b(4, 1);
  EXPECT_EQ(MaskOverlap(a, b), 1);
  a.pixels = {255, 255, 0, 0};
  b.pixels = {0, 255, 255, 255};
  EXPECT_EQ(MaskOverlap(a, b), 0.25);
}

}  // namespace
}  // namespace genview
