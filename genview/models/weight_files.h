// The weights of one model folder as open_clip, diffusers and transformers write it: NAME.safetensors,
// NAME.fp16.safetensors, or shards with NAME.safetensors.index.json (fp16 or another word in it); without these the
// only .safetensors file whatever its name, then PyTorch's own files (.bin, .pt), read without running anything.
//
//   WeightMap weights = ReadFolderWeights(folder, {"diffusion_pytorch_model", "model"});
#pragma once

#include "genview/base/json.h"
#include "genview/tensor/weights.h"

namespace genview {

// The full-precision file where there is one. Throws Error that says what the folder lacks. Of files
// that training programs write, `state_dict` is taken, and `module.` before all names is dropped.
WeightMap ReadFolderWeights(const Path& folder, const std::vector<std::string>& names);
// The file that is read, or the index of the shards.
Path FindFolderWeights(const Path& folder, const std::vector<std::string>& names);
// Files of 2022 and 2023 name the parts of attention over pixels (`attentions.N.query`, ...) differently.
WeightMap WithPresentNames(const WeightMap& weights, WeightReader& reader);
// All files that are read, by name; for fingerprints.
std::vector<Path> FolderWeightFiles(const Path& folder, const std::vector<std::string>& names);

}  // namespace genview
