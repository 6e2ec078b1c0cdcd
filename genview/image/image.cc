#include "genview/image/image.h"

#include <algorithm>
#include <cstring>

namespace genview {

Image Crop(const Image& image, const Box& box, uint8_t fill) {
  GENVIEW_CHECK(box.width >= 0 && box.height >= 0, "a box of negative size");
  Image result(box.width, box.height);
  if (fill != 0) std::fill(result.pixels.begin(), result.pixels.end(), fill);
  const int64_t left = std::max<int64_t>(box.x, 0), right = std::min(box.x + box.width, image.width);
  const int64_t top = std::max<int64_t>(box.y, 0), bottom = std::min(box.y + box.height, image.height);
  if (left >= right) return result;
  for (int64_t y = top; y < bottom; ++y) {
    std::memcpy(result.at(left - box.x, y - box.y), image.at(left, y), static_cast<size_t>((right - left) * 3));
  }
  return result;
}

Image FlipHorizontal(const Image& image) {
  Image result(image.width, image.height);
  for (int64_t y = 0; y < image.height; ++y) {
    const uint8_t* from = image.at(0, y);
    uint8_t* to = result.at(image.width, y);
    for (int64_t x = 0; x < image.width; ++x, from += 3) {
      to -= 3;
      std::memcpy(to, from, 3);
    }
  }
  return result;
}

GrayImage ResizeNearest(const GrayImage& image, int64_t width, int64_t height) {
  GENVIEW_CHECK(image.width > 0 && image.height > 0 && width > 0 && height > 0, "a picture without pixels");
  GrayImage result(width, height);
  uint8_t* target = result.pixels.data();
  for (int64_t y = 0; y < height; ++y) {
    // The pixel under the centre of the new one: floor((y + 1/2) * old / new).
    const uint8_t* row = image.pixels.data() + (2 * y + 1) * image.height / (2 * height) * image.width;
    for (int64_t x = 0; x < width; ++x) *target++ = row[(2 * x + 1) * image.width / (2 * width)];
  }
  return result;
}

}  // namespace genview
