// The text half of a small CLIP: a transformer over the words of a caption, in open_clip's names and arithmetic (its
// `text_cfg` with `no_causal_mask` and `pool_type` "first": the opening token sees the whole caption and stands for
// it).
#pragma once

#include "genview/base/fields.h"
#include "genview/models/blocks.h"

namespace genview {

struct TextTowerConfig {
  int64_t width = 64;  // C
  int64_t layers = 1;
  int64_t heads = 4;
  int64_t vocabulary = 0;         // words
  int64_t context = 16;           // T, tokens of a caption
  int64_t embedding_width = 128;  // D
};

struct TextTower {
  TextTowerConfig config;
  Tensor words;      // [V,C]
  Tensor positions;  // [T,C]
  std::vector<EncoderBlock> blocks;
  NormWeights norm;
  Tensor projection;  // [C,D]
};

TextTower MakeTextTower(const TextTowerConfig& config);
WeightList ListWeights(TextTower& tower);                           // open_clip's names
Tensor ForwardTextTower(const TextTower& w, const Tensor& tokens);  // [N,T] int64 -> [N,D], not normalised
Json TextTowerToOpenClip(const TextTowerConfig& config);            // `text_cfg`

}  // namespace genview
