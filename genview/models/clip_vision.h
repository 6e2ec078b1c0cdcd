// CLIP's image tower: a ViT with a class token, a norm before the blocks and a projection after them. One struct for
// the weights of open_clip and of Hugging Face transformers, whose files differ in names and in how q, k, v are stored.
//
//   ClipVision tower = MakeClipVision(ClipConfigFromOpenClip(ReadJson(folder / "open_clip_config.json"), "..."));
//   WeightReader reader(weights);
//   LoadClipVision(tower, reader, ClipLayout::kOpenClip);
//   reader.Finish(ClipIgnored(ClipLayout::kOpenClip));
//   ClipOutput out = ForwardClipVision(tower, pixels);                 // gradients flow if the weights want them
#pragma once

#include <string_view>
#include <vector>

#include "genview/base/json.h"
#include "genview/models/blocks.h"

namespace genview {

struct ClipVisionConfig {
  int64_t width = 768;  // C
  int64_t layers = 12;
  int64_t heads = 12;
  int64_t mlp_width = 3072;
  int64_t patch_size = 16;                    // px
  int64_t image_size = 224;                   // px, square
  int64_t embedding_width = 512;              // D
  Activation activation = Activation::kGelu;  // kGelu or kQuickGelu
  double eps = 1e-5;
  bool norm_before = true;  // the norm between embedding and blocks
  bool projection = true;   // false: the embedding is the class token itself, D = C

  int64_t grid() const { return image_size / patch_size; }
  int64_t tokens() const { return grid() * grid(); }
};

// From `open_clip_config.json`, or one of open_clip's own model configs. Throws Error that names the option which asks
// for another architecture (a timm tower, a ResNet, attentional pooling, layer scale, ...).
ClipVisionConfig ClipConfigFromOpenClip(const Json& config, std::string_view where);
// From `config.json` of CLIPVisionModelWithProjection, CLIPVisionModel, or of a whole CLIPModel (its `vision_config`).
ClipVisionConfig ClipConfigFromHuggingFace(const Json& config, std::string_view where);
// The `vision_cfg`, `embed_dim` and `quick_gelu` of open_clip, and the config.json of CLIPVisionModelWithProjection.
Json ClipConfigToOpenClip(const ClipVisionConfig& c);
Json ClipConfigToHuggingFace(const ClipVisionConfig& c);
// Without building it; for checks of a config against a file.
double CountClipParameters(const ClipVisionConfig& c);

struct ClipVision {
  ClipVisionConfig config;
  ConvWeights patch;        // [C,3,P,P], no bias
  Tensor class_token;       // [C]
  Tensor positions;         // [1+T,C]
  NormWeights norm_before;  // undefined without
  std::vector<EncoderBlock> blocks;
  NormWeights norm_after;
  Tensor projection;  // [C,D]; undefined without
};

ClipVision MakeClipVision(const ClipVisionConfig& config);
WeightList ListWeights(ClipVision& model);  // open_clip's names without `visual.`
// As open_clip begins to train: tokens, positions and projection N(0, 1/C), attention Xavier-uniform, the rest
// PyTorch's.
void InitClipVision(ClipVision& model, Seed seed);

enum class ClipLayout { kOpenClip, kHuggingFace };
// open_clip: `visual.class_embedding`, ...; Hugging Face: `vision_model.embeddings.class_embedding`, ...
// The reader collects what is missing or misshapen, under the names of the file.
void LoadClipVision(ClipVision& model, WeightReader& reader, ClipLayout layout);
// For WriteSafetensors: the names and forms of that layout. `dtype` as in NamedTensors.
std::vector<std::pair<std::string, Tensor>> ClipTensors(ClipVision& model, ClipLayout layout,
                                                        at::ScalarType dtype = at::kFloat);
// What else such a file may hold: the text tower, the logit scale, position numbers.
std::vector<std::string> ClipIgnored(ClipLayout layout);

struct ClipOutput {
  Tensor embedding;  // [N,D] projected class token, not normalised
  Tensor tokens;     // [N,T,C] patches after the last norm, row-major grid, not projected
};
ClipOutput ForwardClipVision(const ClipVision& w, const Tensor& pixels);  // pixels: [N,3,S,S], normalised

}  // namespace genview
