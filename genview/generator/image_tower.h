// The frozen image tower whose embeddings a generator is conditioned on, with its weights at hand: the generator's folder
// carries a copy of it.
//
//   ImageTower tower = OpenImageTower("models/demo/tower");          // open_clip or Hugging Face CLIP layout
//   Tensor embeddings = Embed(tower, images, compute);               // [N,D]
#pragma once

#include "genview/image/preprocess.h"
#include "genview/models/clip_vision.h"
#include "genview/tensor/device.h"

namespace genview {

struct ImageTower {
  ClipVision vision;
  Preprocess preprocess;
};

ImageTower OpenImageTower(const Path& folder);  // fp32, on the CPU; throws Error for another kind of encoder
Tensor Embed(const ImageTower& tower, const std::vector<Image>& images, at::Device device, at::ScalarType compute);  // [N,D] fp32, CPU
Tensor EncoderPixels(const Preprocess& preprocess, const std::vector<Image>& images);  // [N,3,S,S] fp32, what an encoder sees

}  // namespace genview
