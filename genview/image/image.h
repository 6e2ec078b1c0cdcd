// Pictures as a person sees them: RGB, 8 bits, upright.
//
//   Outcome<Image> image = DecodeImage(bytes);                 // JPEG, PNG, WebP
//   Image small = Resize(*image, 64, 64, Filter::kBicubic);    // the same bytes as Pillow's
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "genview/base/error.h"

namespace genview {

struct Image {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> pixels;  // width * height * 3, row-major, R G B

  Image() = default;
  Image(int64_t w, int64_t h) : width(w), height(h), pixels(static_cast<size_t>(w * h * 3)) {}
  uint8_t* at(int64_t x, int64_t y) { return pixels.data() + (y * width + x) * 3; }
  const uint8_t* at(int64_t x, int64_t y) const { return pixels.data() + (y * width + x) * 3; }
};

// A mask or one channel: width * height bytes.
struct GrayImage {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> pixels;

  GrayImage() = default;
  GrayImage(int64_t w, int64_t h) : width(w), height(h), pixels(static_cast<size_t>(w * h)) {}
};

struct Box {  // in pixels
  int64_t x = 0, y = 0, width = 0, height = 0;
};

// What the first bytes say that it is: ".jpg", ".png", ".webp" or "" for anything else.
std::string_view PictureEnding(std::string_view bytes);

// What decoding one picture may take at its peak: a few bytes can promise any number of pixels.
constexpr int64_t kMostDecodingBytes = int64_t{1} << 30;

// Decodes by content, not by name. Grayscale, CMYK, palette, 16 bits, alpha (over white), progressive, and the EXIF
// orientation are all turned into upright RGB. Fails (with a reason for skipped.tsv) on anything damaged, on other
// formats, and on pictures whose decoding takes more than `max_bytes`, before it takes them: 3 bytes a pixel of the
// simplest forms, 6 of a picture that is turned, up to 11 of others.
Outcome<Image> DecodeImage(std::string_view bytes, int64_t max_bytes = kMostDecodingBytes);

// What `box` of a picture of width x height shows. At its sides the pixels may differ a little from the picture's where
// they are not those that were wanted.
struct ImagePart {
  Image image;
  Box box;
  int64_t width = 0, height = 0;
};

// Of an upright picture of this size the box that is wanted: inside of it, and not empty.
using WantedBox = std::function<Box(int64_t width, int64_t height)>;

// DecodeImage for those who look at a box of the picture alone: the part that comes holds that box, with the same
// pixels, and as much around it as is convenient. The rest of a JPEG is read but not made into pixels, which saves
// time; of a damaged picture the reason is DecodeImage's, whatever the box. `wanted` is asked once, of a damaged
// picture once at most.
Outcome<ImagePart> DecodePart(std::string_view bytes, const WantedBox& wanted, int64_t max_bytes = kMostDecodingBytes);
// The picture as a part of itself; `wanted` is asked all the same.
ImagePart WholeAsPart(Image image, const WantedBox& wanted);

std::string EncodePng(const Image& image);
std::string EncodePng(const GrayImage& image);
std::string EncodeJpeg(const Image& image, int quality = 95);  // 4:2:0 below 90, 4:4:4 from 90 on
std::string EncodeWebp(const Image& image, int quality = 90);

// Bit-equal to the Image.resize of Pillow 13 with the filter of this name (antialiased but for nearest, 8 bits after
// each pass). The values are Pillow's numbers for them.
enum class Filter { kNearest, kLanczos, kBilinear, kBicubic, kBox, kHamming };
const char* FilterName(Filter filter);                      // "bicubic"
std::optional<Filter> FilterOfName(std::string_view name);  // nothing: there is none
Image Resize(const Image& image, int64_t width, int64_t height, Filter filter);
Image Shrink(const Image& image, int64_t longest_side);  // keeps the shape; smaller pictures stay as they are
// The same as Crop then Resize, touching only the pixels the box needs.
Image ResizeBox(const Image& image, const Box& box, int64_t width, int64_t height, Filter filter);
// The same as Resize then Crop: `window` of the resized picture, which is never made as a whole.
Image ResizeCrop(const Image& image, int64_t width, int64_t height, const Box& window, Filter filter, uint8_t fill = 0);
Image Crop(const Image& image, const Box& box, uint8_t fill = 0);  // what lies outside is `fill` in all colours
Image FlipHorizontal(const Image& image);
GrayImage ResizeNearest(const GrayImage& image, int64_t width, int64_t height);

}  // namespace genview
