// Pictures on their way into a generator, and out of it.
//
//   const Tensor embeddings = pipeline->EncodeImages(EncoderPixels(pipeline->preprocess(), pictures));
//   const std::vector<Image> made = PicturesOf(pipeline->Generate(request).pictures);
#pragma once

#include <vector>

#include "genview/image/preprocess.h"
#include "genview/tensor/tensor.h"

namespace genview {

Tensor PixelsForEncoder(const Preprocess& rules, const Image& picture);             // [3,S,S] fp32, normalised
Tensor EncoderPixels(const Preprocess& rules, const std::vector<Image>& pictures);  // [N,3,S,S], the same of each

Image PictureOf(const Tensor& bytes);                // uint8 [H,W,3], on the CPU
std::vector<Image> PicturesOf(const Tensor& bytes);  // uint8 [N,H,W,3]

}  // namespace genview
