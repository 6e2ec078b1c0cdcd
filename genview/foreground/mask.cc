#include "genview/foreground/mask.h"

#include <algorithm>

namespace genview {
namespace {

// The token of each pixel along one side, -1 outside the crop. `resized`: the side after resizing, `offset`: where the
// crop of `size` begins in it. A pixel's centre is followed through the resize; whole numbers only, so that all
// machines agree.
std::vector<int64_t> TokenOfPixel(int64_t side, int64_t resized, int64_t offset, int64_t size, int64_t grid) {
  std::vector<int64_t> tokens(static_cast<size_t>(side), -1);
  for (int64_t i = 0; i < side; ++i) {
    // place = (i + 1/2) * resized / side - offset, in [0, size); token = floor(place * grid / size)
    const int64_t numerator = (2 * i + 1) * resized - 2 * side * offset;
    if (numerator < 0 || numerator >= 2 * side * size) continue;
    tokens[static_cast<size_t>(i)] = std::min(numerator * grid / (2 * side * size), grid - 1);
  }
  return tokens;
}

}  // namespace

GrayImage MaskOfPicture(std::span<const uint8_t> foreground, int64_t grid, const Preprocess& preprocess, int64_t width,
                        int64_t height) {
  GENVIEW_CHECK(static_cast<int64_t>(foreground.size()) == grid * grid, "the foreground has not grid * grid places");
  const Geometry geometry = GeometryOf(preprocess, width, height);
  const auto columns = TokenOfPixel(width, geometry.width, geometry.crop.x, geometry.crop.width, grid);
  const auto rows = TokenOfPixel(height, geometry.height, geometry.crop.y, geometry.crop.height, grid);
  GrayImage mask(width, height);
  uint8_t* pixel = mask.pixels.data();
  for (const int64_t row : rows) {
    for (const int64_t column : columns) {
      *pixel++ = row >= 0 && column >= 0 && foreground[static_cast<size_t>(row * grid + column)] != 0 ? 255 : 0;
    }
  }
  return mask;
}

double MaskOverlap(const GrayImage& a, const GrayImage& b) {
  GENVIEW_CHECK(a.width == b.width && a.height == b.height, "the masks differ in size");
  int64_t both = 0, any = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) {
    both += a.pixels[i] != 0 && b.pixels[i] != 0;
    any += a.pixels[i] != 0 || b.pixels[i] != 0;
  }
  return any == 0 ? 1 : static_cast<double>(both) / static_cast<double>(any);
}

}  // namespace genview
