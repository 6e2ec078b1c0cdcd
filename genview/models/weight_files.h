// The weights of one model folder as diffusers and transformers write it: NAME.safetensors, NAME.fp16.safetensors, or
// shards with NAME.safetensors.index.json.
//
//   WeightMap weights = ReadFolderWeights(folder, {"diffusion_pytorch_model", "model"});
#pragma once

#include "genview/base/json.h"
#include "genview/tensor/weights.h"

namespace genview {

// The full-precision file where there is one. Throws Error that says what the folder has instead (an old pickle, nothing).
WeightMap ReadFolderWeights(const Path& folder, const std::vector<std::string>& names);
// Path of the first of `names` that the folder holds, for fingerprints.
Path FindFolderWeights(const Path& folder, const std::vector<std::string>& names);

}  // namespace genview
