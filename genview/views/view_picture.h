// What a generator has made as the file of a view.
#pragma once

#include "genview/image/image.h"
#include "genview/tensor/tensor.h"
#include "genview/views/config.h"

namespace genview {

Image ViewImage(const Tensor& picture, int64_t size);  // uint8 [H,W,3]; resized to size x size unless 0
std::string EncodeView(const ViewsConfig& config, const Image& image);  // the file's bytes, in the config's format

}  // namespace genview
