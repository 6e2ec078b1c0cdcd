// A backbone out of a file, whoever wrote it: a checkpoint of this program, one that it exported, or another library's.
//
//   BackboneFile file = ReadBackboneFile("moco_v2_800ep_pretrain.pth");
//   file.encoder.backbone->Forward(pixels, /*training=*/false);
#pragma once

#include "genview/image/preprocess.h"
#include "genview/models/layouts.h"

namespace genview {

struct BackboneFile {
  ForeignEncoder encoder;  // layout: "genview" for a checkpoint of this program
  Preprocess preprocess;
  bool preprocess_known = true;  // false: ImageNet's is assumed, since the file does not say
  bool own = false;              // this program wrote it: the file says all of itself
};

// file: .safetensors, PyTorch's zips, or a folder of transformers or timm. `options` speak of other libraries' files
// alone. Throws Error.
BackboneFile ReadBackboneFile(const Path& file, ForeignOptions options = {});

}  // namespace genview
