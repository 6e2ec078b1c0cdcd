// CLIP's image tower: a ViT with a class token, a norm before the blocks and a projection after them; CLIPA and CoCa
// pool in other ways. One struct for the weights of open_clip and of Hugging Face transformers, whose files differ in
// names and in how q, k, v are stored.
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

// Attention of learned queries to all tokens, which CoCa pools by. kParallel and kCascade: a second one, of one query,
// makes the embedding, out of the tokens or out of what the first one makes.
enum class QueryPooling { kNone, kPlain, kParallel, kCascade };

struct ClipVisionConfig {
  int64_t width = 768;  // C
  int64_t layers = 12;
  int64_t heads = 12;
  int64_t mlp_width = 3072;
  int64_t patch_size = 16;        // px
  int64_t image_size = 224;       // px, square
  int64_t embedding_width = 512;  // D
  Activation activation = Activation::kGelu;
  double eps = 1e-5;
  bool norm_before = true;  // the norm between embedding and blocks
  bool projection = true;   // false: the embedding is the class token itself, D = C
  bool layer_scale = false;
  bool mean_pool = false;        // of the patches, or with queries of all but the first, in place of the first token
  bool norm_after_pool = false;  // the last norm is of what is pooled; the patches are without (CLIPA)
  QueryPooling query_pooling = QueryPooling::kNone;
  int64_t queries = 256, query_heads = 8;

  int64_t grid() const { return image_size / patch_size; }
  int64_t tokens() const { return grid() * grid(); }
  int64_t pooled_width() const { return query_pooling == QueryPooling::kNone ? width : embedding_width; }
};

// From `open_clip_config.json`, or one of open_clip's own model configs. Throws Error that names the option which asks
// for another architecture (a timm tower, a ResNet, normalised queries, ...).
ClipVisionConfig ClipConfigFromOpenClip(const Json& config, std::string_view where);
// From `config.json` of CLIPVisionModelWithProjection, CLIPVisionModel, or of a whole CLIPModel (its `vision_config`).
ClipVisionConfig ClipConfigFromHuggingFace(const Json& config, std::string_view where);
// The `vision_cfg`, `embed_dim` and `quick_gelu` of open_clip, and the config.json of CLIPVisionModelWithProjection.
// Throw Error for what that library's towers do not have.
Json ClipConfigToOpenClip(const ClipVisionConfig& c);
Json ClipConfigToHuggingFace(const ClipVisionConfig& c);
// Without building it; for checks of a config against a file.
double CountClipParameters(const ClipVisionConfig& c);

struct QueryPool {
  Tensor query;                            // [Q,D]
  NormWeights norm_query, norm_tokens;     // [D], [C]
  Tensor in_proj, q_proj, k_proj, v_proj;  // [3D,D] where C is D, otherwise [D,D], [D,C], [D,C]
  Tensor in_proj_bias;                     // [3D]
  LinearWeights proj;                      // [D,D]
};

struct ClipVision {
  ClipVisionConfig config;
  ConvWeights patch;        // [C,3,P,P], no bias
  Tensor class_token;       // [C]
  Tensor positions;         // [1+T,C]
  NormWeights norm_before;  // undefined without
  std::vector<EncoderBlock> blocks;
  QueryPool pool, second_pool;  // undefined without
  NormWeights norm_after;       // with queries of D channels
  Tensor projection;            // [C,D], with queries [D,D]; undefined without
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
  Tensor embedding;  // [N,D] projected, not normalised
  Tensor tokens;     // [N,T,C] patches, row-major grid, not projected: after the last norm, or where that is of what is
                     // pooled after the last block
};
ClipOutput ForwardClipVision(const ClipVision& w, const Tensor& pixels);  // pixels: [N,3,S,S], normalised

}  // namespace genview
