#include "genview/views/view_picture.h"

#include <algorithm>

namespace genview {

Tensor PixelsForEncoder(const Preprocess& rules, const Image& picture) {
  const Image seen = ApplyGeometry(rules, picture);
  Tensor pixels = at::empty({3, seen.height, seen.width});
  Normalise(seen, rules.mean, rules.std, {pixels.data_ptr<float>(), static_cast<size_t>(pixels.numel())});
  return pixels;
}

Image ViewImage(const Tensor& picture, int64_t size) {
  Image image(picture.size(1), picture.size(0));
  std::copy_n(picture.contiguous().data_ptr<uint8_t>(), image.pixels.size(), image.pixels.begin());
  return size == 0 || (image.width == size && image.height == size) ? image : Resize(image, size, size, Filter::kBicubic);
}

std::string EncodeView(const ViewsConfig& config, const Image& image) {
  const auto quality = static_cast<int>(config.quality);
  switch (config.format) {
    case ViewFormat::kJpeg: return EncodeJpeg(image, quality);
    case ViewFormat::kWebp: return EncodeWebp(image, quality);
    case ViewFormat::kPng: break;
  }
  return EncodePng(image);
}

}  // namespace genview
