#include <algorithm>
#include <new>
#include <utility>

#include "genview/base/text.h"
#include "genview/image/codecs.h"
#include "genview/image/exif.h"
#include "genview/image/image.h"

namespace genview {
namespace codecs {

std::string SizeComplaint(int64_t width, int64_t height, double needed, int64_t max_bytes) {
  if (width <= 0 || height <= 0) return "a picture without pixels";
  if (needed <= static_cast<double>(max_bytes)) return "";
  constexpr double kMostNamed = 1e18;  // what a whole number holds
  return Format("{} x {} pixels take {} to decode, more than the {} that a picture may take", width, height,
                HumanBytes(static_cast<uint64_t>(std::min(needed, kMostNamed))),
                HumanBytes(static_cast<uint64_t>(max_bytes)));
}

double PictureBytes(int64_t width, int64_t height, int orientation) {
  return (orientation == 1 ? 3.0 : 6.0) * static_cast<double>(width) * static_cast<double>(height);
}

Box AskFor(const WantedBox& wanted, int64_t width, int64_t height) {
  const Box box = wanted(width, height);
  GENVIEW_CHECK(box.width > 0 && box.height > 0, "nothing is wanted of a picture");
  GENVIEW_CHECK(box.x >= 0 && box.y >= 0 && box.x + box.width <= width && box.y + box.height <= height,
                "what is wanted is not in the picture");
  return box;
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

Outcome<codecs::Decoded> DecodeByContent(std::string_view bytes, int64_t max_bytes) {
  const std::string_view ending = PictureEnding(bytes);
  if (ending == ".jpg") {
    Outcome<codecs::DecodedPart> whole = codecs::DecodeJpeg(bytes, max_bytes, nullptr);
    if (!whole) return Outcome<codecs::Decoded>::Failed(whole.reason());
    return std::move(whole->decoded);
  }
  if (ending == ".png") return codecs::DecodePng(bytes, max_bytes);
  if (ending == ".webp") return codecs::DecodeWebp(bytes, max_bytes);
  return Outcome<codecs::Decoded>::Failed(OtherFormat(bytes));
}

constexpr const char* kNoMemory = "not enough memory for this picture";

}  // namespace

std::string_view PictureEnding(std::string_view bytes) {
  if (StartsWith(bytes, "\xff\xd8\xff")) return ".jpg";
  if (StartsWith(bytes, "\x89PNG\r\n\x1a\n")) return ".png";
  if (StartsWith(bytes, "RIFF") && StartsWith(bytes, "WEBP", 8)) return ".webp";
  return "";
}

Outcome<Image> DecodeImage(std::string_view bytes, int64_t max_bytes) {
  try {
    Outcome<codecs::Decoded> decoded = DecodeByContent(bytes, max_bytes);
    if (!decoded) return Outcome<Image>::Failed(decoded.reason());
    // Of a PNG it may be known only now that it is to be turned.
    const int64_t width = decoded->image.width, height = decoded->image.height;
    const double needed = codecs::PictureBytes(width, height, decoded->orientation);
    std::string complaint = codecs::SizeComplaint(width, height, needed, max_bytes);
    if (!complaint.empty()) return Outcome<Image>::Failed(std::move(complaint));
    return ApplyOrientation(std::move(decoded->image), decoded->orientation);
  } catch (const std::bad_alloc&) {
    return Outcome<Image>::Failed(kNoMemory);
  }
}

Outcome<ImagePart> DecodePart(std::string_view bytes, const WantedBox& wanted, int64_t max_bytes) {
  if (PictureEnding(bytes) != ".jpg") {
    Outcome<Image> image = DecodeImage(bytes, max_bytes);
    if (!image) return Outcome<ImagePart>::Failed(image.reason());
    return WholeAsPart(std::move(*image), wanted);
  }
  try {
    Outcome<codecs::DecodedPart> stored = codecs::DecodeJpeg(bytes, max_bytes, &wanted);
    if (!stored) return Outcome<ImagePart>::Failed(stored.reason());
    const int orientation = stored->decoded.orientation;
    ImagePart part;
    part.box = UprightBox(stored->box, stored->width, stored->height, orientation);
    part.width = SwapsSides(orientation) ? stored->height : stored->width;
    part.height = SwapsSides(orientation) ? stored->width : stored->height;
    part.image = ApplyOrientation(std::move(stored->decoded.image), orientation);
    return part;
  } catch (const std::bad_alloc&) {
    return Outcome<ImagePart>::Failed(kNoMemory);
  }
}

ImagePart WholeAsPart(Image image, const WantedBox& wanted) {
  codecs::AskFor(wanted, image.width, image.height);
  ImagePart part;
  part.box = {0, 0, image.width, image.height};
  part.width = image.width;
  part.height = image.height;
  part.image = std::move(image);
  return part;
}

}  // namespace genview
