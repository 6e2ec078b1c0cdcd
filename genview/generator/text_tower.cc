#include "genview/generator/text_tower.h"

#include "genview/base/text.h"

namespace genview {

TextTower MakeTextTower(const TextTowerConfig& c) {
  TextTower w{.config = c,
              .words = at::empty({c.vocabulary, c.width}),
              .positions = at::empty({c.context, c.width}),
              .blocks = {},
              .norm = MakeNorm(c.width),
              .projection = at::empty({c.width, c.embedding_width})};
  for (int64_t i = 0; i < c.layers; ++i) w.blocks.push_back(MakeEncoderBlock(c.width, 4 * c.width));
  return w;
}

WeightList ListWeights(TextTower& w) {
  WeightList list;
  Append(list, "token_embedding.weight", w.words, WeightRole::kEmbedding);
  Append(list, "positional_embedding", w.positions, WeightRole::kEmbedding);
  for (size_t i = 0; i < w.blocks.size(); ++i) {
    EncoderBlock& b = w.blocks[i];
    const std::string name = Format("transformer.resblocks.{}.", i);
    Append(list, name + "ln_1", b.norm1);
    Append(list, name + "attn.in_proj_weight", name + "attn.in_proj_bias", b.qkv);
    Append(list, name + "attn.out_proj", b.proj);
    Append(list, name + "ln_2", b.norm2);
    Append(list, name + "mlp.c_fc", b.fc1);
    Append(list, name + "mlp.c_proj", b.fc2);
  }
  Append(list, "ln_final", w.norm);
  Append(list, "text_projection", w.projection, WeightRole::kWeight);
  return list;
}

Tensor ForwardTextTower(const TextTower& w, const Tensor& tokens) {
  const TextTowerConfig& c = w.config;
  ExpectShape(tokens, {-1, c.context}, "tokens");
  Tensor x = at::embedding(w.words, tokens) + w.positions;  // [N,T,C]
  for (const EncoderBlock& block : w.blocks) x = ForwardEncoderBlock(block, {.heads = c.heads}, x);
  return at::matmul(LayerNorm(w.norm, x.select(1, 0), 1e-5), w.projection);  // [N,D]
}

Json TextTowerToOpenClip(const TextTowerConfig& c) {
  return {{"context_length", c.context}, {"vocab_size", c.vocabulary}, {"width", c.width},    {"heads", c.heads},
          {"layers", c.layers},          {"no_causal_mask", true},     {"pool_type", "first"}};
}

}  // namespace genview
