#include "genview/data/foreground_crop.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "genview/data/augment.h"

namespace genview {
namespace {

// A mask whose foreground is the pixels of a box.
GrayImage MaskOf(int64_t width, int64_t height, const Box& box) {
  GrayImage mask(width, height);
  for (int64_t y = box.y; y < box.y + box.height; ++y) {
    for (int64_t x = box.x; x < box.x + box.width; ++x) mask.pixels[static_cast<size_t>(y * width + x)] = 255;
  }
  return mask;
}

TEST(ForegroundArea, CountsWhatABoxHolds) {
  const ForegroundArea area(MaskOf(10, 8, {2, 3, 4, 2}));
  EXPECT_FALSE(area.empty());
  EXPECT_DOUBLE_EQ(area.ShareIn({0, 0, 10, 8}, 10, 8), 1);
  EXPECT_DOUBLE_EQ(area.ShareIn({2, 3, 4, 2}, 10, 8), 1);
  EXPECT_DOUBLE_EQ(area.ShareIn({4, 0, 6, 4}, 10, 8), 0.25);
  EXPECT_DOUBLE_EQ(area.ShareIn({6, 0, 4, 8}, 10, 8), 0);
  const Box around = area.Around(10, 8);
  EXPECT_EQ(around.x, 2);
  EXPECT_EQ(around.y, 3);
  EXPECT_EQ(around.width, 4);
  EXPECT_EQ(around.height, 2);
}

TEST(ForegroundArea, AMaskOfAnotherSizeLiesOverTheWholePicture) {
  for (const int64_t factor : {2, 100}) {  // the second is kept at fewer places than it has pixels
    const ForegroundArea area(MaskOf(10 * factor, 8 * factor, {2 * factor, 4 * factor, 4 * factor, 4 * factor}));
    EXPECT_NEAR(area.ShareIn({4, 0, 6, 8}, 10, 8), 0.5, 0.02);
    const Box around = area.Around(10, 8);
    EXPECT_LE(around.x, 2);
    EXPECT_LE(around.y, 4);
    EXPECT_GE(around.x + around.width, 6);
    EXPECT_EQ(around.y + around.height, 8);
    EXPECT_LE(around.width, 6);
  }
}

TEST(ForegroundArea, WithoutForegroundThereIsNothingToKeepTo) {
  const ForegroundArea area(GrayImage(5, 4));
  EXPECT_TRUE(area.empty());
  EXPECT_EQ(area.ShareIn({0, 0, 5, 4}, 5, 4), 0);
  EXPECT_EQ(area.Around(50, 40).width, 50);
  const AugmentConfig config = AugmentPreset("simclr");
  for (const CropDraw draw : {CropDraw::kBox, CropDraw::kShare}) {
    const auto kept = SampleAugment(config, Seed(1), 50, 40, {.draw = draw}, area),
               plain = SampleAugment(config, Seed(1), 50, 40);
    EXPECT_EQ(kept.crop.x, plain.crop.x);
    EXPECT_EQ(kept.crop.width, plain.crop.width);
  }
}

bool Equal(const Box& a, const Box& b) {
  return a.x == b.x && a.y == b.y && a.width == b.width && a.height == b.height;
}

TEST(ForegroundCrops, HoldTheShareOrWhatComesNearest) {
  const ForegroundArea area(MaskOf(100, 100, {70, 70, 20, 20}));
  const AugmentConfig config = AugmentPreset("moco-v2");
  int64_t held = 0, kept = 0, plainly = 0;
  for (uint64_t k = 0; k < 200; ++k) {
    const ForegroundCrop rule{.draw = CropDraw::kShare, .share = 0.5};
    const auto params = SampleAugment(config, Seed(k), 100, 100, rule, area),
               plain = SampleAugment(config, Seed(k), 100, 100);
    const bool good = area.ShareIn(plain.crop, 100, 100) >= 0.5;
    plainly += good;
    held += area.ShareIn(params.crop, 100, 100) >= 0.5;
    kept += good && Equal(params.crop, plain.crop);
    EXPECT_EQ(params.hue, plain.hue);  // the crop alone is another
    EXPECT_EQ(params.flip, plain.flip);
    EXPECT_TRUE(Equal(params.crop, SampleAugment(config, Seed(k), 100, 100, rule, area).crop));
    EXPECT_GE(params.crop.x, 0);
    EXPECT_LE(params.crop.x + params.crop.width, 100);
  }
  EXPECT_EQ(kept, plainly);
  EXPECT_LT(plainly, 190);
  EXPECT_GE(held, 198);
  // No crop can hold all of a picture that is foreground throughout, but for the whole picture itself.
  const ForegroundArea all(MaskOf(100, 100, {0, 0, 100, 100}));
  const auto most = SampleAugment(config, Seed(3), 100, 100, {.draw = CropDraw::kShare, .share = 1}, all);
  EXPECT_GT(all.ShareIn(most.crop, 100, 100), 0.7);
}

TEST(ForegroundCrops, HaveTheirCentreInTheBoxNearItsRims) {
  const Box subject{40, 120, 60, 60};
  const ForegroundArea area(MaskOf(200, 240, subject));
  AugmentConfig config;
  config.scale_min = 0.05;
  config.scale_max = 0.1;
  const auto spread = [&](double alpha) {
    double sum = 0;
    for (uint64_t k = 0; k < 400; ++k) {
      const Box crop = SampleAugment(config, Seed(k), 200, 240, {.draw = CropDraw::kBox, .alpha = alpha}, area).crop;
      const double x = static_cast<double>(crop.x + crop.width / 2), y = static_cast<double>(crop.y + crop.height / 2);
      EXPECT_GE(x, subject.x);
      EXPECT_LE(x, subject.x + subject.width);
      EXPECT_GE(y, subject.y);
      EXPECT_LE(y, subject.y + subject.height);
      sum += std::abs(x - 70) / 30;
    }
    return sum / 400;  // mean distance from the middle: 1/2 where it is uniform
  };
  EXPECT_NEAR(spread(1), 0.5, 0.05);
  EXPECT_GT(spread(0.3), 0.62);
  EXPECT_LT(spread(2), 0.42);
}

TEST(ForegroundCrops, StayInsideThePicture) {
  const ForegroundArea area(MaskOf(64, 48, {0, 0, 3, 3}));
  for (uint64_t k = 0; k < 100; ++k) {
    const Box crop = SampleAugment(AugmentPreset("moco-v2"), Seed(k), 64, 48, {.draw = CropDraw::kBox}, area).crop;
    EXPECT_GE(std::min(crop.x, crop.y), 0);
    EXPECT_LE(crop.x + crop.width, 64);
    EXPECT_LE(crop.y + crop.height, 48);
  }
}

}  // namespace
}  // namespace genview
