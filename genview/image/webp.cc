#include <algorithm>

#include <webp/decode.h>
#include <webp/encode.h>

#include "genview/base/text.h"
#include "genview/image/codecs.h"
#include "genview/image/exif.h"

namespace genview {
namespace codecs {
namespace {

uint64_t LittleEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

// The first chunk of this name of an extended file ("RIFF" size "WEBP", then chunks of name, size, data and a pad
// byte).
std::string_view FindChunk(std::string_view bytes, std::string_view name) {
  uint64_t at = 12;
  while (at + 8 <= bytes.size()) {
    const uint64_t size = LittleEndian(bytes.substr(at + 4, 4));
    if (bytes.substr(at, 4) == name) return bytes.substr(at + 8, size);
    at += 8 + size + (size & 1);
  }
  return {};
}

int ReadOrientation(std::string_view bytes) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  std::string_view data = FindChunk(bytes, "EXIF");
  if (data.starts_with(kExif)) data.remove_prefix(kExif.size());  // some writers keep the JPEG prefix
  return ExifOrientation(data);
}

// What decoding takes of memory at its peak, for each pixel. Lossless: 4 bytes in the library and up to 1 for its maps,
// beside the R G B or R G B A that comes out. Lossy: nothing beside that, but where there is alpha this is a byte and a
// lossless picture of its own. The first frame of an animation may be any of these, as large as the whole.
double BytesOfPixel(const WebPBitstreamFeatures& features) {
  constexpr int kLossy = 1;
  if (features.has_animation) return 10;
  if (features.format == kLossy) return features.has_alpha ? 10 : 3;
  return features.has_alpha ? 9 : 8;
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

bool DecodeStill(std::string_view bytes, const WebPBitstreamFeatures& features, Image& image) {
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  image.width = features.width;
  image.height = features.height;
  return features.has_alpha ? DecodeOverWhite(data, bytes.size(), image) : DecodeOpaque(data, bytes.size(), image);
}

// The first frame on a white canvas: a chunk of place, size and duration (16 bytes), then a picture as of a still file.
bool DecodeFirstFrame(std::string_view bytes, Image& canvas) {
  constexpr size_t kHeader = 16;
  const std::string_view frame = FindChunk(bytes, "ANMF");
  if (frame.size() <= kHeader) return false;
  const auto left = static_cast<int64_t>(2 * LittleEndian(frame.substr(0, 3)));
  const auto top = static_cast<int64_t>(2 * LittleEndian(frame.substr(3, 3)));
  const std::string_view still = frame.substr(kHeader);
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(reinterpret_cast<const uint8_t*>(still.data()), still.size(), &features) != VP8_STATUS_OK)
    return false;
  if (features.has_animation || left + features.width > canvas.width || top + features.height > canvas.height)
    return false;
  Image picture;
  if (!DecodeStill(still, features, picture)) return false;
  canvas.pixels.assign(static_cast<size_t>(canvas.width * canvas.height * 3), 255);
  for (int64_t y = 0; y < picture.height; ++y)
    std::copy_n(picture.at(0, y), picture.width * 3, canvas.at(left, top + y));
  return true;
}

}  // namespace

Outcome<Decoded> DecodeWebp(std::string_view bytes, int64_t max_bytes) {
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(data, bytes.size(), &features) != VP8_STATUS_OK) {
    return Outcome<Decoded>::Failed("damaged WebP (its header cannot be read)");
  }
  Decoded result;
  result.orientation = ReadOrientation(bytes);
  const double pixels = static_cast<double>(features.width) * static_cast<double>(features.height);
  const double needed =
      std::max(BytesOfPixel(features) * pixels, PictureBytes(features.width, features.height, result.orientation));
  std::string complaint = SizeComplaint(features.width, features.height, needed, max_bytes);
  if (!complaint.empty()) return Outcome<Decoded>::Failed(std::move(complaint));

  result.image.width = features.width;
  result.image.height = features.height;
  const bool whole =
      features.has_animation ? DecodeFirstFrame(bytes, result.image) : DecodeStill(bytes, features, result.image);
  if (!whole) return Outcome<Decoded>::Failed("damaged WebP (its data are cut off or wrong)");
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
