// Weights as PyTorch's torch.save writes them (.pth, .pt, .bin, .ckpt), read without Python and without running
// anything: the zip's directory, the pickle as plain data (pickle.h), the storages where they lie.
//
//   WeightMap weights = ReadTorchFile("open_clip_pytorch_model.bin");   // mapped, not copied
//   WeightReader reader(weights);                                       // from here on as with safetensors
//
// Tensors are named by their place: those of a state dict by its names, those of {"epoch": 3, "state_dict": {...}} by
// "state_dict.conv1.weight", those of a bare list or tuple "0", "1", ... Numbers and short texts of the outermost
// dictionary ("arch", "epoch") become metadata.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "genview/base/files.h"
#include "genview/tensor/weights.h"

namespace genview {

// The bytes must outlive the tensors (WeightMap::Keep). Throws Error that says what to do for: the formats before
// PyTorch 1.6 (tar, bare pickle), TorchScript, whole models in place of their weights, names that weights do not need,
// sparse, quantised or big-endian tensors, tensors that reach outside their storage or are far larger than the file,
// anything not well formed.
WeightMap ParseTorchFile(std::string_view bytes, const std::string& where);

WeightMap ReadTorchFile(const Path& path);

// Either format, told by the contents and not by the name.
WeightMap ReadWeightsFile(const Path& path);

}  // namespace genview
