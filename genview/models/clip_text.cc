#include "genview/models/clip_text.h"

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/models/config_reader.h"
#include "genview/models/weight_files.h"

namespace genview {

ClipTextConfig ParseClipTextConfig(const Json& json, const std::string& where) {
  ConfigReader reader(json, where);
  ClipTextConfig c;
  c.vocabulary = reader.Int("vocab_size", c.vocabulary, 1, 1 << 20);
  c.positions = reader.Int("max_position_embeddings", c.positions, 1, 1 << 16);
  c.width = reader.Int("hidden_size", c.width, 1, 1 << 14);
  c.layers = reader.Int("num_hidden_layers", c.layers, 1, 256);
  c.heads = reader.Int("num_attention_heads", c.heads, 1, 1 << 10);
  c.mlp_width = reader.Int("intermediate_size", c.mlp_width, 1, 1 << 17);
  if (c.width % c.heads != 0) reader.Fail("num_attention_heads", Format("a divisor of hidden_size ({})", c.width));
  const auto activation = ActivationOfName(reader.String("hidden_act", "quick_gelu"));
  if (!activation) reader.Fail("hidden_act", "quick_gelu, gelu, gelu_new, gelu_pytorch_tanh, silu, relu");
  c.activation = *activation;
  c.eps = reader.Double("layer_norm_eps", c.eps);
  reader.Allow("use_attention_mask", {false, nullptr});
  return c;  // without Finish: transformers' files are full of settings for other uses
}

ClipText MakeClipText(const ClipTextConfig& c) {
  ClipText w{c, at::empty({c.vocabulary, c.width}), at::empty({c.positions, c.width}), {}, MakeNorm(c.width)};
  for (int64_t i = 0; i < c.layers; ++i) w.blocks.push_back(MakeEncoderBlock(c.width, c.mlp_width));
  return w;
}

WeightList ListWeights(ClipText& w) {
  WeightList list;
  Append(list, "tokens", w.tokens, WeightRole::kEmbedding);
  Append(list, "positions", w.positions, WeightRole::kEmbedding);
  for (size_t i = 0; i < w.blocks.size(); ++i) {
    EncoderBlock& b = w.blocks[i];
    const std::string prefix = Format("blocks.{}", i);
    Append(list, prefix + ".norm1", b.norm1);
    Append(list, prefix + ".qkv", b.qkv);
    Append(list, prefix + ".proj", b.proj);
    Append(list, prefix + ".norm2", b.norm2);
    Append(list, prefix + ".fc1", b.fc1);
    Append(list, prefix + ".fc2", b.fc2);
  }
  Append(list, "norm_after", w.norm_after);
  return list;
}

namespace {

// Takes weight and bias of each part and stacks them by rows.
LinearWeights TakeStacked(WeightReader& reader, const std::string& prefix, const std::vector<const char*>& parts,
                          int64_t out, int64_t in) {
  std::vector<Tensor> weights, biases;
  for (const char* part : parts) {
    weights.push_back(reader.TakeMatrix(Format("{}.{}.weight", prefix, part), {out, in}));
    biases.push_back(reader.Take(Format("{}.{}.bias", prefix, part), {out}));
  }
  return parts.size() == 1 ? LinearWeights{weights[0], biases[0]} : LinearWeights{at::cat(weights), at::cat(biases)};
}

NormWeights TakeNorm(WeightReader& reader, const std::string& prefix, int64_t width) {
  return {reader.Take(prefix + ".weight", {width}), reader.Take(prefix + ".bias", {width})};
}

}  // namespace

ClipText ReadClipTextFolder(const Path& folder, Reads reads) {
  const ClipTextConfig c = ParseClipTextConfig(ReadJson(folder / "config.json"), (folder / "config.json").string());
  ClipText w = MakeClipText(c);
  const WeightMap weights = ReadFolderWeights(folder, {"model"});
  const std::string root = weights.Has("embeddings.token_embedding.weight") ? "" : "text_model.";
  WeightReader reader(weights, reads);
  w.tokens = reader.Take(root + "embeddings.token_embedding.weight", {c.vocabulary, c.width});
  w.positions = reader.Take(root + "embeddings.position_embedding.weight", {c.positions, c.width});
  for (size_t i = 0; i < w.blocks.size(); ++i) {
    const std::string prefix = Format("{}encoder.layers.{}", root, i);
    EncoderBlock& b = w.blocks[i];
    b.norm1 = TakeNorm(reader, prefix + ".layer_norm1", c.width);
    b.qkv = TakeStacked(reader, prefix + ".self_attn", {"q_proj", "k_proj", "v_proj"}, c.width, c.width);
    b.proj = TakeStacked(reader, prefix + ".self_attn", {"out_proj"}, c.width, c.width);
    b.norm2 = TakeNorm(reader, prefix + ".layer_norm2", c.width);
    b.fc1 = TakeStacked(reader, prefix + ".mlp", {"fc1"}, c.mlp_width, c.width);
    b.fc2 = TakeStacked(reader, prefix + ".mlp", {"fc2"}, c.width, c.mlp_width);
  }
  w.norm_after = TakeNorm(reader, root + "final_layer_norm", c.width);
  // Position numbers of old files, and the projection of CLIPTextModelWithProjection.
  reader.Finish({root + "embeddings.position_ids", "text_projection"});
  return w;
}

Tensor ForwardClipText(const ClipText& w, const Tensor& ids) {
  const ClipTextConfig& c = w.config;
  ExpectShape(ids, {-1, -1}, "ids");
  GENVIEW_CHECK(ids.size(1) <= c.positions, "a text is longer than the model has positions");
  Tensor x = at::embedding(w.tokens, ids) + w.positions.slice(0, 0, ids.size(1));  // [N,T,C]
  const EncoderBlockOptions options{.heads = c.heads, .activation = c.activation, .eps = c.eps, .causal = true};
  for (const EncoderBlock& block : w.blocks) x = ForwardEncoderBlock(block, options, x);
  return LayerNorm(w.norm_after, x, c.eps);
}

}  // namespace genview
