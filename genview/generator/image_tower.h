// The frozen encoder whose embeddings a generator is conditioned on: a CLIP image tower, or a checkpoint of this
// program. The generator's folder carries a copy of it.
//
//   ImageTower tower = OpenImageTower("models/demo/tower");          // what Encoder::Open understands, save ConvNeXt
//   Tensor embeddings = Embed(tower, images, device, compute);       // [N,D]
#pragma once

#include <optional>

#include "genview/image/preprocess.h"
#include "genview/models/encoder.h"

namespace genview {

struct ImageTower {
  std::optional<ClipVision> vision;         // a CLIP tower, with its weights at hand
  Path checkpoint;                          // or a checkpoint,
  std::shared_ptr<const Encoder> backbone;  // and what is in it
  Preprocess preprocess;
};

// fp32; a CLIP tower on the CPU, a checkpoint's backbone on `device`. Throws Error for a ConvNeXt.
ImageTower OpenImageTower(const Path& folder_or_file, at::Device device = at::kCPU);
std::string FingerprintOf(const ImageTower& tower);  // of its weights
void MoveTower(ImageTower& tower, at::Device device);
Tensor Embed(const ImageTower& tower, const std::vector<Image>& images, at::Device device,
             at::ScalarType compute);  // [N,D] fp32, CPU
Tensor EmbedPixels(const ImageTower& tower, const Tensor& pixels, at::Device device,
                   at::ScalarType compute);  // the same of [N,3,S,S], normalised

}  // namespace genview
