// CLIP's text tower as a diffusion pipeline uses it (CLIPTextModel of transformers): token ids to one vector per token.
//
//   ClipText tower = ReadClipTextFolder("models/stable-unclip/text_encoder");
//   Tensor prompt = ForwardClipText(tower, ids);            // ids [N,77] -> [N,77,1024]
#pragma once

#include "genview/base/json.h"
#include "genview/models/blocks.h"

namespace genview {

struct ClipTextConfig {
  int64_t vocabulary = 49408;
  int64_t positions = 77;  // the longest text, in tokens
  int64_t width = 512;     // C
  int64_t layers = 12;
  int64_t heads = 8;
  int64_t mlp_width = 2048;
  Activation activation = Activation::kQuickGelu;
  double eps = 1e-5;
};

// config.json of CLIPTextModel or CLIPTextModelWithProjection. Throws Error naming what is not supported.
ClipTextConfig ParseClipTextConfig(const Json& json, const std::string& where);

struct ClipText {
  ClipTextConfig config;
  Tensor tokens;     // [V,C]
  Tensor positions;  // [P,C]
  std::vector<EncoderBlock> blocks;
  NormWeights norm_after;
};

ClipText MakeClipText(const ClipTextConfig& config);
WeightList ListWeights(ClipText& model);  // our own names; q, k and v of a block are one matrix

// fp32; with or without `text_model.` before the names. kNames: names and shapes are checked alone, see WeightReader.
ClipText ReadClipTextFolder(const Path& folder, Reads reads = Reads::kAll);
// ids: [N,T] int64, T <= positions. Every token sees itself and those before it, padding too. -> [N,T,C] after the last
// norm.
Tensor ForwardClipText(const ClipText& w, const Tensor& ids);

}  // namespace genview
