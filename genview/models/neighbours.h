// What other libraries write beside their weights: config.json and preprocessor_config.json of transformers,
// config.json of timm's hub. They know what the weights do not say.
//
//   const Neighbours beside = ReadNeighbours("vit-base", options);
//   beside.preprocess;   // of ViTImageProcessor
#pragma once

#include <optional>

#include "genview/image/preprocess.h"
#include "genview/models/layouts.h"

namespace genview {

struct Neighbours {
  ForeignOptions options;                // as given, with heads, size and epsilon of the files where they were open
  std::optional<Preprocess> preprocess;  // nothing: no file says
};

// Of a ViT's or ResNet's folder; nothing is read where config.json is missing or another network's. Throws Error for
// settings that this program does not have.
Neighbours ReadNeighbours(const Path& folder, ForeignOptions options);

// preprocessor_config.json of ViT's and ConvNeXt's (ResNet's) image processors in the words of CLIP's, which
// PreprocessFromHuggingFace reads: with their own defaults, and ConvNeXt's share of the crop as sizes.
Json ProcessorInClipWords(Json rules, std::string_view where);

// `pretrained_cfg` of timm's config.json; missing members are timm's defaults.
Preprocess PreprocessFromTimm(const Json& config, std::string_view where);

// The same for pictures of another size: the crop keeps its share.
Preprocess ForSize(Preprocess preprocess, int64_t size);

}  // namespace genview
