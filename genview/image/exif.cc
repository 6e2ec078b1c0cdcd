#include "genview/image/exif.h"

#include <cstring>
#include <utility>

namespace genview {
namespace {

// Numbers of a TIFF block in its own byte order; 0 outside of the block.
struct TiffReader {
  std::string_view bytes;
  bool big_endian;

  uint32_t Number(uint64_t offset, int width) const {
    if (offset + static_cast<uint64_t>(width) > bytes.size()) return 0;
    uint32_t value = 0;
    for (int i = 0; i < width; ++i) {
      const int shift = 8 * (big_endian ? width - 1 - i : i);
      value |= uint32_t{static_cast<uint8_t>(bytes[offset + static_cast<uint64_t>(i)])} << shift;
    }
    return value;
  }
};

// Moves every pixel; `to(x, y)` is where the stored pixel goes.
template <class Place>
Image Rearrange(const Image& from, bool swap_sides, Place to) {
  Image result(swap_sides ? from.height : from.width, swap_sides ? from.width : from.height);
  for (int64_t y = 0; y < from.height; ++y) {
    const uint8_t* pixel = from.at(0, y);
    for (int64_t x = 0; x < from.width; ++x, pixel += 3) {
      const auto [to_x, to_y] = to(x, y);
      std::memcpy(result.at(to_x, to_y), pixel, 3);
    }
  }
  return result;
}

}  // namespace

int ExifOrientation(std::string_view tiff) {
  constexpr uint32_t kOrientationTag = 0x0112, kShort = 3, kLong = 4;
  if (tiff.size() < 8 || (tiff.substr(0, 2) != "II" && tiff.substr(0, 2) != "MM")) return 1;
  const TiffReader reader{tiff, tiff[0] == 'M'};
  if (reader.Number(2, 2) != 42) return 1;
  const uint64_t directory = reader.Number(4, 4);
  const uint32_t entries = reader.Number(directory, 2);
  for (uint64_t i = 0; i < entries; ++i) {
    const uint64_t entry = directory + 2 + 12 * i;
    if (entry + 12 > tiff.size()) return 1;
    if (reader.Number(entry, 2) != kOrientationTag) continue;
    const uint32_t type = reader.Number(entry + 2, 2);
    if ((type != kShort && type != kLong) || reader.Number(entry + 4, 4) != 1) return 1;
    const uint32_t value = reader.Number(entry + 8, type == kShort ? 2 : 4);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image ApplyOrientation(Image image, int orientation) {
  using Point = std::pair<int64_t, int64_t>;
  const int64_t right = image.width - 1, bottom = image.height - 1;
  switch (orientation) {
    case 2:
      return FlipHorizontal(image);
    case 3:
      return Rearrange(image, false, [&](int64_t x, int64_t y) { return Point{right - x, bottom - y}; });
    case 4:
      return Rearrange(image, false, [&](int64_t x, int64_t y) { return Point{x, bottom - y}; });
    case 5:
      return Rearrange(image, true, [&](int64_t x, int64_t y) { return Point{y, x}; });
    case 6:
      return Rearrange(image, true, [&](int64_t x, int64_t y) { return Point{bottom - y, x}; });
    case 7:
      return Rearrange(image, true, [&](int64_t x, int64_t y) { return Point{bottom - y, right - x}; });
    case 8:
      return Rearrange(image, true, [&](int64_t x, int64_t y) { return Point{y, right - x}; });
    default:
      return image;
  }
}

bool SwapsSides(int orientation) { return orientation >= 5; }

Box UprightBox(const Box& stored, int64_t width, int64_t height, int orientation) {
  const int64_t x = stored.x, from_right = width - x - stored.width;
  const int64_t y = stored.y, from_bottom = height - y - stored.height;
  Box box = stored;
  if (SwapsSides(orientation)) std::swap(box.width, box.height);
  const auto at = [&](int64_t left, int64_t top) { return Box{left, top, box.width, box.height}; };
  switch (orientation) {
    case 2:
      return at(from_right, y);
    case 3:
      return at(from_right, from_bottom);
    case 4:
      return at(x, from_bottom);
    case 5:
      return at(y, x);
    case 6:
      return at(from_bottom, x);
    case 7:
      return at(from_bottom, from_right);
    case 8:
      return at(y, from_right);
    default:
      return stored;
  }
}

Box StoredBox(const Box& upright, int64_t width, int64_t height, int orientation) {
  // Of the orientations only the two quarter turns, 6 and 8, do not lead back themselves, but each other.
  const int back = orientation == 6 ? 8 : orientation == 8 ? 6 : orientation;
  return UprightBox(upright, width, height, back);
}

}  // namespace genview
