#include "genview/data/foreground_crop.h"

#include <algorithm>
#include <cmath>

namespace genview {
namespace {

constexpr int64_t kMostPlaces = 256;

// `place` of `side` pixels as the nearest of `places`.
int64_t PlaceOf(int64_t place, int64_t side, int64_t places) { return (2 * place * places + side) / (2 * side); }

}  // namespace

ForegroundArea::ForegroundArea(const GrayImage& whole)
    : width_(std::min(whole.width, kMostPlaces)), height_(std::min(whole.height, kMostPlaces)) {
  const bool fits = width_ == whole.width && height_ == whole.height;
  const GrayImage mask = fits ? whole : ResizeNearest(whole, width_, height_);
  const int64_t row = width_ + 1;
  sums_.assign(static_cast<size_t>(row * (height_ + 1)), 0);
  for (int64_t y = 0; y < height_; ++y) {
    int32_t line = 0;
    for (int64_t x = 0; x < width_; ++x) {
      line += mask.pixels[static_cast<size_t>(y * width_ + x)] >= 128;
      sums_[static_cast<size_t>((y + 1) * row + x + 1)] = sums_[static_cast<size_t>(y * row + x + 1)] + line;
    }
  }
}

double ForegroundArea::ShareIn(const Box& box, int64_t width, int64_t height) const {
  if (empty()) return 0;
  const auto at = [&](int64_t x, int64_t y) {
    const int64_t column = std::clamp<int64_t>(PlaceOf(x, width, width_), 0, width_);
    const int64_t line = std::clamp<int64_t>(PlaceOf(y, height, height_), 0, height_);
    return int64_t{sums_[static_cast<size_t>(line * (width_ + 1) + column)]};
  };
  const int64_t right = box.x + box.width, bottom = box.y + box.height;
  const int64_t inside = at(right, bottom) - at(box.x, bottom) - at(right, box.y) + at(box.x, box.y);
  return static_cast<double>(inside) / static_cast<double>(total());
}

Box ForegroundArea::Around(int64_t width, int64_t height) const {
  if (empty()) return {0, 0, width, height};
  // The first and the last step at which a running sum along one side grows.
  const auto range = [&](int64_t places, auto&& sum) {
    int64_t first = 0, last = places - 1;
    while (sum(first + 1) == 0) ++first;
    while (sum(last) == total()) --last;
    return std::pair(first, last + 1);
  };
  const auto [left, right] =
      range(width_, [&](int64_t x) { return int64_t{sums_[static_cast<size_t>(height_ * (width_ + 1) + x)]}; });
  const auto [top, bottom] =
      range(height_, [&](int64_t y) { return int64_t{sums_[static_cast<size_t>(y * (width_ + 1) + width_)]}; });
  const auto low = [](int64_t place, int64_t side, int64_t places) { return place * side / places; };
  const auto high = [](int64_t place, int64_t side, int64_t places) { return (place * side + places - 1) / places; };
  Box box{low(left, width, width_), low(top, height, height_), 0, 0};
  box.width = high(right, width, width_) - box.x;
  box.height = high(bottom, height, height_) - box.y;
  return box;
}

}  // namespace genview
