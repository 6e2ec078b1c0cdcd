#include <webp/decode.h>
#include <webp/encode.h>

#include "genview/base/text.h"
#include "genview/image/codecs.h"
#include "genview/image/exif.h"

namespace genview {
namespace codecs {
namespace {

// The EXIF chunk of an extended file ("RIFF" size "WEBP", then chunks of name, size, data and a pad byte).
int ReadOrientation(std::string_view bytes) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  uint64_t at = 12;
  while (at + 8 <= bytes.size()) {
    uint64_t size = 0;
    for (uint64_t i = 0; i < 4; ++i) size |= uint64_t{static_cast<uint8_t>(bytes[at + 4 + i])} << (8 * i);
    if (bytes.substr(at, 4) == "EXIF") {
      std::string_view data = bytes.substr(at + 8, size);
      if (data.starts_with(kExif)) data.remove_prefix(kExif.size());  // some writers keep the JPEG prefix
      return ExifOrientation(data);
    }
    at += 8 + size + (size & 1);
  }
  return 1;
}

// Each row of R G B A shrinks to R G B at a place at or before its own, so one piece of memory serves both.
bool DecodeOverWhite(const uint8_t* data, size_t size, Image& image) {
  const int64_t stride = image.width * 4;
  image.pixels.resize(static_cast<size_t>(stride * image.height));
  uint8_t* rgba = image.pixels.data();
  if (WebPDecodeRGBAInto(data, size, rgba, image.pixels.size(), static_cast<int>(stride)) == nullptr) return false;
  for (int64_t y = 0; y < image.height; ++y) OverWhite(rgba + y * stride, image.width, image.at(0, y));
  image.pixels.resize(static_cast<size_t>(image.width * image.height * 3));
  return true;
}

bool DecodeOpaque(const uint8_t* data, size_t size, Image& image) {
  image.pixels.resize(static_cast<size_t>(image.width * image.height * 3));
  const int stride = static_cast<int>(image.width * 3);
  return WebPDecodeRGBInto(data, size, image.pixels.data(), image.pixels.size(), stride) != nullptr;
}

}  // namespace

Outcome<Decoded> DecodeWebp(std::string_view bytes, int64_t max_pixels) {
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(data, bytes.size(), &features) != VP8_STATUS_OK) {
    return Outcome<Decoded>::Failed("damaged WebP (its header cannot be read)");
  }
  if (features.has_animation) return Outcome<Decoded>::Failed("an animated WebP");
  std::string complaint = SizeComplaint(features.width, features.height, max_pixels);
  if (!complaint.empty()) return Outcome<Decoded>::Failed(std::move(complaint));

  Decoded result;
  result.image.width = features.width;
  result.image.height = features.height;
  const bool whole = features.has_alpha ? DecodeOverWhite(data, bytes.size(), result.image)
                                        : DecodeOpaque(data, bytes.size(), result.image);
  if (!whole) return Outcome<Decoded>::Failed("damaged WebP (its data are cut off or wrong)");
  result.orientation = ReadOrientation(bytes);
  return result;
}

}  // namespace codecs

std::string EncodeWebp(const Image& image, int quality) {
  GENVIEW_CHECK(image.width > 0 && image.height > 0, "a picture without pixels");
  uint8_t* bytes = nullptr;
  const size_t size = WebPEncodeRGB(image.pixels.data(), static_cast<int>(image.width), static_cast<int>(image.height),
                                    static_cast<int>(image.width * 3), static_cast<float>(quality), &bytes);
  if (size == 0) {
    throw Error({.what = Format("a picture of {} x {} pixels cannot be written as WebP", image.width, image.height),
                 .where = "WebP encoder",
                 .next = Format("WebP holds at most {} pixels a side: make the pictures smaller, or write PNG",
                                WEBP_MAX_DIMENSION)});
  }
  std::string result(reinterpret_cast<const char*>(bytes), size);
  WebPFree(bytes);
  return result;
}

}  // namespace genview
