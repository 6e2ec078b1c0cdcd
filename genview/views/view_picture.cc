#include "genview/views/view_picture.h"

#include "genview/diffusion/picture_tensors.h"

namespace genview {

Image ViewImage(const Tensor& picture, int64_t size) {
  const Image image = PictureOf(picture);
  return size == 0 || (image.width == size && image.height == size) ? image
                                                                    : Resize(image, size, size, Filter::kBicubic);
}

std::string EncodeView(const ViewsConfig& config, const Image& image) {
  const auto quality = static_cast<int>(config.quality);
  switch (config.format) {
    case ViewFormat::kJpeg:
      return EncodeJpeg(image, quality);
    case ViewFormat::kWebp:
      return EncodeWebp(image, quality);
    case ViewFormat::kPng:
      break;
  }
  return EncodePng(image);
}

}  // namespace genview
