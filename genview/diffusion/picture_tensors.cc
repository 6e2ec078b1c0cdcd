#include "genview/diffusion/picture_tensors.h"

#include <algorithm>

namespace genview {

static void Fill(const Preprocess& rules, const Image& picture, Tensor pixels) {
  Normalise(ApplyGeometry(rules, picture), rules.mean, rules.std,
            {pixels.data_ptr<float>(), static_cast<size_t>(pixels.numel())});
}

Tensor PixelsForEncoder(const Preprocess& rules, const Image& picture) {
  Tensor pixels = at::empty({3, rules.size, rules.size});
  Fill(rules, picture, pixels);
  return pixels;
}

Tensor EncoderPixels(const Preprocess& rules, const std::vector<Image>& pictures) {
  Tensor pixels = at::empty({static_cast<int64_t>(pictures.size()), 3, rules.size, rules.size});
  for (size_t i = 0; i < pictures.size(); ++i) Fill(rules, pictures[i], pixels[static_cast<int64_t>(i)]);
  return pixels;
}

Image PictureOf(const Tensor& bytes) {
  ExpectShape(bytes, {-1, -1, 3}, "picture");
  Image image(bytes.size(1), bytes.size(0));
  std::copy_n(bytes.contiguous().const_data_ptr<uint8_t>(), image.pixels.size(), image.pixels.begin());
  return image;
}

std::vector<Image> PicturesOf(const Tensor& bytes) {
  ExpectShape(bytes, {-1, -1, -1, 3}, "pictures");
  std::vector<Image> images;
  for (int64_t i = 0; i < bytes.size(0); ++i) images.push_back(PictureOf(bytes[i]));
  return images;
}

}  // namespace genview
