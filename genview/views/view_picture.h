// Pictures on their way into the generator and out of it.
#pragma once

#include "genview/image/image.h"
#include "genview/image/preprocess.h"
#include "genview/tensor/tensor.h"
#include "genview/views/config.h"

namespace genview {

Tensor PixelsForEncoder(const Preprocess& rules, const Image& picture);   // [3,S,S] fp32, normalised
Image ViewImage(const Tensor& picture, int64_t size);                     // uint8 [H,W,3]; resized to size x size unless 0
std::string EncodeView(const ViewsConfig& config, const Image& image);    // the file's bytes, in the config's format

}  // namespace genview
