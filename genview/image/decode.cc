#include <new>

#include "genview/base/text.h"
#include "genview/image/codecs.h"
#include "genview/image/exif.h"
#include "genview/image/image.h"

namespace genview {
namespace codecs {

std::string SizeComplaint(int64_t width, int64_t height, int64_t max_pixels) {
  if (width <= 0 || height <= 0) return "a picture without pixels";
  if (height > max_pixels / width) {
    return Format("{} x {} pixels are more than the {} that are read", width, height, max_pixels);
  }
  return "";
}

void OverWhite(const uint8_t* rgba, int64_t width, uint8_t* rgb) {
  for (int64_t x = 0; x < width; ++x, rgba += 4, rgb += 3) {
    const uint32_t alpha = rgba[3];
    for (int c = 0; c < 3; ++c) {
      rgb[c] = static_cast<uint8_t>((rgba[c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
  }
}

}  // namespace codecs

namespace {

bool StartsWith(std::string_view bytes, std::string_view magic, size_t at = 0) {
  return bytes.size() >= at + magic.size() && bytes.substr(at, magic.size()) == magic;
}

// What a file is that is none of the three formats, as far as its first bytes tell.
std::string OtherFormat(std::string_view bytes) {
  if (bytes.empty()) return "an empty file";
  std::string name;
  if (StartsWith(bytes, "GIF8")) name = "GIF";
  else if (StartsWith(bytes, "BM")) name = "BMP";
  else if (StartsWith(bytes, "II*") || StartsWith(bytes, std::string_view("MM\0*", 4))) name = "TIFF";
  else if (StartsWith(bytes, "ftypavif", 4)) name = "AVIF";
  else if (StartsWith(bytes, "ftyp", 4)) name = "HEIC or video";
  else if (StartsWith(bytes, "<")) name = "HTML or XML";
  return name.empty() ? "not a JPEG, PNG or WebP picture" : Format("not a JPEG, PNG or WebP picture ({})", name);
}

Outcome<codecs::Decoded> DecodeByContent(std::string_view bytes, int64_t max_pixels) {
  const std::string_view ending = PictureEnding(bytes);
  if (ending == ".jpg") return codecs::DecodeJpeg(bytes, max_pixels);
  if (ending == ".png") return codecs::DecodePng(bytes, max_pixels);
  if (ending == ".webp") return codecs::DecodeWebp(bytes, max_pixels);
  return Outcome<codecs::Decoded>::Failed(OtherFormat(bytes));
}

}  // namespace

std::string_view PictureEnding(std::string_view bytes) {
  if (StartsWith(bytes, "\xff\xd8\xff")) return ".jpg";
  if (StartsWith(bytes, "\x89PNG\r\n\x1a\n")) return ".png";
  if (StartsWith(bytes, "RIFF") && StartsWith(bytes, "WEBP", 8)) return ".webp";
  return "";
}

Outcome<Image> DecodeImage(std::string_view bytes, int64_t max_pixels) {
  try {
    Outcome<codecs::Decoded> decoded = DecodeByContent(bytes, max_pixels);
    if (!decoded) return Outcome<Image>::Failed(decoded.reason());
    return ApplyOrientation(std::move(decoded->image), decoded->orientation);
  } catch (const std::bad_alloc&) {
    return Outcome<Image>::Failed("not enough memory for this picture");
  }
}

}  // namespace genview
