#include "genview/report/pictures.h"

#include <algorithm>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/report/html.h"

namespace genview {
namespace {

constexpr uint64_t kLargestFile = uint64_t{64} << 20;

}  // namespace

Image FadeOutside(const Image& image, const Image& mask) {
  const Image weights = mask.width == image.width && mask.height == image.height
                            ? mask
                            : Resize(mask, image.width, image.height, Filter::kBilinear);
  Image result(image.width, image.height);
  for (size_t i = 0; i < image.pixels.size(); i += 3) {
    const uint8_t* pixel = image.pixels.data() + i;
    // Rec. 601 luminance, then most of the way to a light grey.
    const int grey = (299 * pixel[0] + 587 * pixel[1] + 114 * pixel[2]) / 1000;
    const int faded = (grey + 3 * 224) / 4, weight = weights.pixels[i];
    for (size_t c = 0; c < 3; ++c)
      result.pixels[i + c] = static_cast<uint8_t>((weight * pixel[c] + (255 - weight) * faded + 127) / 255);
  }
  return result;
}

std::optional<Image> PictureShelf::Read(const Path& file) {
  try {
    const MappedFile mapped(file);
    if (mapped.size() <= kLargestFile) {
      if (auto image = DecodeImage(mapped.text())) return std::move(*image);
    }
  } catch (const Error&) {  // not there, or nobody may read it
  }
  ++left_out_;
  return std::nullopt;
}

std::optional<PageImage> PictureShelf::Encode(const Image& image) {
  // Very small pictures are shown enlarged, where the blocks of a lossy format would be seen.
  const bool small = std::max(image.width, image.height) <= 48;
  PageImage result{"", image.width, image.height};
  result.uri = small ? Format("data:image/png;base64,{}", Base64(EncodePng(image)))
                     : Format("data:image/webp;base64,{}", Base64(EncodeWebp(image, 86)));
  if (result.uri.size() > left_) {
    ++left_out_;
    return std::nullopt;
  }
  left_ -= result.uri.size();
  return result;
}

std::optional<PageImage> PictureShelf::Add(const Path& file) {
  const auto image = Read(file);
  return image ? Encode(Shrink(*image, side_)) : std::nullopt;
}

std::optional<PageImage> PictureShelf::AddMasked(const Path& file, const Path& mask) {
  const auto image = Read(file);
  if (!image) return std::nullopt;
  const auto weights = Read(mask);
  if (!weights) return std::nullopt;
  const Image small = Shrink(*image, side_);
  return Encode(FadeOutside(small, *weights));
}

}  // namespace genview
