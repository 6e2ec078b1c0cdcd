#include "genview/models/unet.h"

#include <algorithm>

#include <c10/core/GradMode.h>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/models/config_reader.h"
#include "genview/models/weight_files.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

constexpr double kTransformerNormEps = 1e-6;  // fixed in diffusers, whatever norm_eps says
constexpr const char* kWeightsName = "diffusion_pytorch_model";

bool IsCross(const std::string& type) { return type.starts_with("CrossAttn") || type == "UNetMidBlock2DCrossAttn"; }
bool IsAttn(const std::string& type) { return type.starts_with("Attn"); }

void CheckBlocks(const UnetConfig& c, const ConfigReader& reader) {
  const std::vector<std::string> down{"DownBlock2D", "AttnDownBlock2D", "CrossAttnDownBlock2D"};
  const std::vector<std::string> up{"UpBlock2D", "AttnUpBlock2D", "CrossAttnUpBlock2D"};
  const std::vector<std::string> mid{"", "UNetMidBlock2D", "UNetMidBlock2DCrossAttn"};
  const auto known = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  const size_t count = c.channels.size();
  if (count == 0 || count > 8) reader.Fail("block_out_channels", "1 to 8 blocks");
  if (c.down_blocks.size() != count)
    reader.Fail("down_block_types", Format("as many as block_out_channels ({})", count));
  if (c.up_blocks.size() != count) reader.Fail("up_block_types", Format("as many as block_out_channels ({})", count));
  for (const auto& type : c.down_blocks) {
    if (!known(down, type)) reader.Fail("down_block_types", Format("{}", fmt::join(down, ", ")));
  }
  for (const auto& type : c.up_blocks) {
    if (!known(up, type)) reader.Fail("up_block_types", Format("{}", fmt::join(up, ", ")));
  }
  if (!known(mid, c.mid_block)) reader.Fail("mid_block_type", "UNetMidBlock2DCrossAttn, UNetMidBlock2D, null");
  for (const int64_t width : c.channels) {
    if (width % c.groups != 0)
      reader.Fail("norm_num_groups", Format("a divisor of every block_out_channels ({})", fmt::join(c.channels, ", ")));
  }
}

// The number of heads must divide the channels; for Attn* blocks the number in the file is the channels of a head.
void CheckHeads(const UnetConfig& c, const ConfigReader& reader) {
  const size_t count = c.channels.size();
  for (size_t i = 0; i < count; ++i) {
    // Up blocks of kind CrossAttn take the list backwards; those of kind Attn take it as it stands (so does diffusers).
    const int64_t down_width = c.channels[i], up_width = c.channels[count - 1 - i];
    const bool uneven = ((c.down_blocks[i] != "DownBlock2D") && down_width % c.attention_head_dim[i] != 0) ||
                        (IsCross(c.up_blocks[i]) && up_width % c.attention_head_dim[count - 1 - i] != 0) ||
                        (IsAttn(c.up_blocks[i]) && up_width % c.attention_head_dim[i] != 0);
    if (uneven) reader.Fail("attention_head_dim", "divisors of the blocks' channels");
  }
  if (IsCross(c.mid_block) && c.channels.back() % c.attention_head_dim.back() != 0) {
    reader.Fail("attention_head_dim", "divisors of the blocks' channels");
  }
}

}  // namespace

bool UnetConfig::HasCrossAttention() const {
  return IsCross(mid_block) || std::any_of(down_blocks.begin(), down_blocks.end(), IsCross) ||
         std::any_of(up_blocks.begin(), up_blocks.end(), IsCross);
}

UnetConfig ParseUnetConfig(const Json& json, const std::string& where) {
  ConfigReader reader(json, where);
  UnetConfig c;
  c.sample_size = reader.Int("sample_size", c.sample_size, 1, 4096);
  c.in_channels = reader.Int("in_channels", c.in_channels, 1, 1024);
  c.out_channels = reader.Int("out_channels", c.out_channels, 1, 1024);
  c.channels = reader.Ints("block_out_channels", c.channels, 1, 8192);
  c.down_blocks = reader.Strings("down_block_types", c.down_blocks);
  c.up_blocks = reader.Strings("up_block_types", c.up_blocks);
  const bool no_mid_block = json.contains("mid_block_type") && reader.IsNull("mid_block_type");
  c.mid_block = no_mid_block ? "" : reader.String("mid_block_type", c.mid_block);
  c.groups = reader.Int("norm_num_groups", c.groups, 1, 8192);
  CheckBlocks(c, reader);
  const size_t count = c.channels.size();
  c.layers_per_block = reader.IntPerBlock("layers_per_block", 2, count, 1, 16);
  c.attention_head_dim = reader.IntPerBlock("attention_head_dim", 8, count, 1, 8192);
  if (!reader.IsNull("num_attention_heads")) {  // the same numbers under the name they should have had
    for (const auto* types : {&c.down_blocks, &c.up_blocks}) {
      if (std::any_of(types->begin(), types->end(), IsAttn))
        reader.Fail("num_attention_heads", "null beside Attn blocks");
    }
    c.attention_head_dim = reader.IntPerBlock("num_attention_heads", 8, count, 1, 8192);
  }
  CheckHeads(c, reader);
  c.cross_attention_dim = reader.IntPerBlock("cross_attention_dim", 1280, count, 1, 8192);
  c.transformer_layers = reader.IntPerBlock("transformer_layers_per_block", 1, count, 1, 32);
  c.use_linear_projection = reader.Bool("use_linear_projection", false);
  c.upcast_attention = reader.Bool("upcast_attention", false);
  c.flip_sin_to_cos = reader.Bool("flip_sin_to_cos", true);
  c.freq_shift = reader.Double("freq_shift", 0);
  c.eps = reader.Double("norm_eps", c.eps);
  reader.Allow("class_embed_type", {nullptr, "projection"});
  if (!reader.IsNull("class_embed_type")) {
    c.class_width = reader.Int("projection_class_embeddings_input_dim", 0, 1, 65536);
    if (c.class_width == 0) reader.Fail("projection_class_embeddings_input_dim", "the length of the class vector");
  }
  reader.Ignore("projection_class_embeddings_input_dim");
  reader.Allow("act_fn", {"silu", "swish"});
  reader.Allow("center_input_sample", {false});
  reader.Allow("only_cross_attention", {false, Json(std::vector<bool>(count, false))});
  reader.Allow("downsample_padding", {1});
  reader.Allow("mid_block_scale_factor", {1});
  reader.Ignore("dropout");  // of training in diffusers
  reader.Allow("dual_cross_attention", {false});
  reader.Allow("resnet_time_scale_shift", {"default"});
  reader.Allow("resnet_skip_time_act", {false});
  reader.Allow("resnet_out_scale_factor", {1});
  reader.Allow("time_embedding_type", {"positional"});
  reader.Allow("conv_in_kernel", {3});
  reader.Allow("conv_out_kernel", {3});
  reader.Allow("attention_type", {"default"});
  reader.Allow("class_embeddings_concat", {false});
  reader.Ignore("addition_embed_type_num_heads");  // of a part that addition_embed_type null leaves out
  reader.Finish();
  return c;
}

// One number where all blocks agree, as the files of diffusers have it.
static Json OneOrAll(const std::vector<int64_t>& values) {
  const bool same = std::all_of(values.begin(), values.end(), [&](int64_t value) { return value == values[0]; });
  return same ? Json(values[0]) : Json(values);
}

Json UnetConfigToJson(const UnetConfig& c) {
  Json json;
  json["_class_name"] = "UNet2DConditionModel";
  json["_diffusers_version"] = kDiffusersVersion;
  json["sample_size"] = c.sample_size;
  json["in_channels"] = c.in_channels;
  json["out_channels"] = c.out_channels;
  json["block_out_channels"] = c.channels;
  json["down_block_types"] = c.down_blocks;
  json["mid_block_type"] = c.mid_block.empty() ? Json(nullptr) : Json(c.mid_block);
  json["up_block_types"] = c.up_blocks;
  json["layers_per_block"] = OneOrAll(c.layers_per_block);
  json["attention_head_dim"] = OneOrAll(c.attention_head_dim);
  json["cross_attention_dim"] = OneOrAll(c.cross_attention_dim);
  json["transformer_layers_per_block"] = OneOrAll(c.transformer_layers);
  json["use_linear_projection"] = c.use_linear_projection;
  json["upcast_attention"] = c.upcast_attention;
  json["class_embed_type"] = c.class_width > 0 ? Json("projection") : Json(nullptr);
  json["projection_class_embeddings_input_dim"] = c.class_width > 0 ? Json(c.class_width) : Json(nullptr);
  json["flip_sin_to_cos"] = c.flip_sin_to_cos;
  // A whole number where it is one: diffusers' own files have an integer here.
  json["freq_shift"] = c.freq_shift == static_cast<double>(static_cast<int64_t>(c.freq_shift))
                           ? Json(static_cast<int64_t>(c.freq_shift))
                           : Json(c.freq_shift);
  json["norm_num_groups"] = c.groups;
  json["norm_eps"] = c.eps;
  json["act_fn"] = "silu";
  return json;
}

namespace {

Transformer MakeTransformer(const UnetConfig& c, int64_t width, int64_t text_width, int64_t layers) {
  Transformer t{MakeNorm(width), MakeLinear(width, width), MakeLinear(width, width), {}};
  if (!c.use_linear_projection) {  // the same numbers, stored as a 1x1 convolution
    t.proj_in.weight = at::empty({width, width, 1, 1});
    t.proj_out.weight = at::empty({width, width, 1, 1});
  }
  for (int64_t i = 0; i < layers; ++i) {
    t.blocks.push_back({MakeNorm(width), MakeNorm(width), MakeNorm(width), MakeLinear(width, width, false),
                        MakeLinear(width, width, false), MakeLinear(width, width, false), MakeLinear(width, width),
                        MakeLinear(width, width, false), MakeLinear(text_width, width, false),
                        MakeLinear(text_width, width, false), MakeLinear(width, width), MakeLinear(width, 8 * width),
                        MakeLinear(4 * width, width)});
  }
  return t;
}

// The attention parts of one resnet of a block of this type.
void AddAttention(UnetBlock& block, const UnetConfig& c, const std::string& type, int64_t width, int64_t text_width,
                  int64_t layers) {
  if (IsCross(type)) block.transformers.push_back(MakeTransformer(c, width, text_width, layers));
  if (IsAttn(type)) block.attentions.push_back(MakeSpatialAttention(width));
}

}  // namespace

Unet MakeUnet(const UnetConfig& c) {
  Unet w;
  w.config = c;
  const size_t count = c.channels.size();
  const int64_t time = 4 * c.channels[0];
  w.conv_in = MakeConv(c.in_channels, c.channels[0], 3);
  w.time = MakeEmbeddingMlp(c.channels[0], time);
  if (c.class_width > 0) w.class_embedding = MakeEmbeddingMlp(c.class_width, time);

  std::vector<int64_t> skips{c.channels[0]};  // channels of every skip connection, in the order they are made
  int64_t width = c.channels[0];
  for (size_t i = 0; i < count; ++i) {
    UnetBlock block;
    for (int64_t j = 0; j < c.layers_per_block[i]; ++j) {
      block.resnets.push_back(MakeResnetBlock(width, c.channels[i], time));
      width = c.channels[i];
      AddAttention(block, c, c.down_blocks[i], width, c.cross_attention_dim[i], c.transformer_layers[i]);
      skips.push_back(width);
    }
    block.heads = IsAttn(c.down_blocks[i]) ? width / c.attention_head_dim[i] : c.attention_head_dim[i];
    if (i + 1 < count) {
      block.sampler = MakeConv(width, width, 3);
      skips.push_back(width);
    }
    w.down.push_back(std::move(block));
  }

  if (!c.mid_block.empty()) {
    w.mid.resnets.push_back(MakeResnetBlock(width, width, time));
    if (IsCross(c.mid_block)) {
      AddAttention(w.mid, c, c.mid_block, width, c.cross_attention_dim.back(), c.transformer_layers.back());
      w.mid.resnets.push_back(MakeResnetBlock(width, width, time));
      w.mid.heads = c.attention_head_dim.back();
    }
  }

  for (size_t i = 0; i < count; ++i) {
    const size_t level = count - 1 - i;  // the down block of the same resolution
    UnetBlock block;
    for (int64_t j = 0; j <= c.layers_per_block[level]; ++j) {
      block.resnets.push_back(MakeResnetBlock(width + skips.back(), c.channels[level], time));
      skips.pop_back();
      width = c.channels[level];
      AddAttention(block, c, c.up_blocks[i], width, c.cross_attention_dim[level], c.transformer_layers[level]);
    }
    block.heads = IsAttn(c.up_blocks[i]) ? width / c.attention_head_dim[i] : c.attention_head_dim[level];
    if (i + 1 < count) block.sampler = MakeConv(width, width, 3);
    w.up.push_back(std::move(block));
  }
  w.norm_out = MakeNorm(c.channels[0]);
  w.conv_out = MakeConv(c.channels[0], c.out_channels, 3);
  return w;
}

namespace {

void Append(WeightList& list, const std::string& prefix, TransformerBlock& w) {
  Append(list, prefix + ".norm1", w.norm1);
  Append(list, prefix + ".attn1.to_q", w.q1);
  Append(list, prefix + ".attn1.to_k", w.k1);
  Append(list, prefix + ".attn1.to_v", w.v1);
  Append(list, prefix + ".attn1.to_out.0", w.out1);
  Append(list, prefix + ".norm2", w.norm2);
  Append(list, prefix + ".attn2.to_q", w.q2);
  Append(list, prefix + ".attn2.to_k", w.k2);
  Append(list, prefix + ".attn2.to_v", w.v2);
  Append(list, prefix + ".attn2.to_out.0", w.out2);
  Append(list, prefix + ".norm3", w.norm3);
  Append(list, prefix + ".ff.net.0.proj", w.gate);
  Append(list, prefix + ".ff.net.2", w.down);
}

void Append(WeightList& list, const std::string& prefix, Transformer& w) {
  Append(list, prefix + ".norm", w.norm);
  Append(list, prefix + ".proj_in", w.proj_in);
  for (size_t i = 0; i < w.blocks.size(); ++i) Append(list, Format("{}.transformer_blocks.{}", prefix, i), w.blocks[i]);
  Append(list, prefix + ".proj_out", w.proj_out);
}

void Append(WeightList& list, const std::string& prefix, UnetBlock& w, const char* sampler) {
  for (size_t i = 0; i < w.resnets.size(); ++i) Append(list, Format("{}.resnets.{}", prefix, i), w.resnets[i]);
  for (size_t i = 0; i < w.transformers.size(); ++i)
    Append(list, Format("{}.attentions.{}", prefix, i), w.transformers[i]);
  for (size_t i = 0; i < w.attentions.size(); ++i) Append(list, Format("{}.attentions.{}", prefix, i), w.attentions[i]);
  Append(list, Format("{}.{}.0.conv", prefix, sampler), w.sampler);
}

}  // namespace

WeightList ListWeights(Unet& w) {
  WeightList list;
  Append(list, "conv_in", w.conv_in);
  Append(list, "time_embedding", w.time);
  Append(list, "class_embedding", w.class_embedding);
  for (size_t i = 0; i < w.down.size(); ++i) Append(list, Format("down_blocks.{}", i), w.down[i], "downsamplers");
  Append(list, "mid_block", w.mid, "");
  for (size_t i = 0; i < w.up.size(); ++i) Append(list, Format("up_blocks.{}", i), w.up[i], "upsamplers");
  Append(list, "conv_norm_out", w.norm_out);
  Append(list, "conv_out", w.conv_out);
  return list;
}

namespace {

// Without gradients strip by strip, so that what is eight times as wide as x stays in the cache and never fills memory.
Tensor ForwardGated(const TransformerBlock& w, const Tensor& x) {
  constexpr int64_t kStripRows = 1024;
  const auto of = [&w](const Tensor& rows) {
    const auto halves = Linear(w.gate, rows).chunk(2, -1);  // [...,4C] twice
    return Linear(w.down, halves[0] * at::gelu(halves[1]));
  };
  if (c10::GradMode::is_enabled()) return of(x);
  const Tensor rows = x.flatten(0, 1), y = at::empty_like(rows);  // [N HW,C]
  const auto from = rows.split(kStripRows), to = y.split(kStripRows);
  for (size_t i = 0; i < from.size(); ++i) to[i].copy_(of(from[i]));
  return y.view_as(x);
}

Tensor ForwardTransformerBlock(const TransformerBlock& w, Tensor x, const Tensor& prompt, int64_t heads) {
  // x: [N,HW,C]; prompt: [N,T,D]
  const Tensor own = LayerNorm(w.norm1, x, 1e-5);
  x = Plus(Linear(w.out1, Attention(Linear(w.q1, own), Linear(w.k1, own), Linear(w.v1, own), heads)), x);
  const Tensor asking = LayerNorm(w.norm2, x, 1e-5);
  x = Plus(Linear(w.out2, Attention(Linear(w.q2, asking), Linear(w.k2, prompt), Linear(w.v2, prompt), heads)), x);
  return Plus(ForwardGated(w, LayerNorm(w.norm3, x, 1e-5)), x);
}

Tensor ForwardTransformer(const Transformer& w, const Tensor& x, const Tensor& prompt, int64_t heads, int64_t groups) {
  const auto matrix = [](const LinearWeights& l) { return LinearWeights{l.weight.flatten(1), l.bias}; };
  Tensor tokens = Linear(matrix(w.proj_in),
                         PixelsToTokens(GroupNormThen(AfterNorm::kNothing, w.norm, x, groups, kTransformerNormEps)));
  for (const TransformerBlock& block : w.blocks) tokens = ForwardTransformerBlock(block, tokens, prompt, heads);
  return Plus(TokensToPixels(Linear(matrix(w.proj_out), tokens), x.size(2), x.size(3)), x);
}

struct Conditions {
  Tensor time;    // [N,4 C0], after SiLU
  Tensor prompt;  // [N,T,D] or undefined
};

// Resnet j of a block and the attention that follows it.
Tensor ForwardLayer(const UnetBlock& w, size_t j, Tensor x, const Conditions& given, const UnetConfig& c) {
  x = ForwardResnetBlock(w.resnets[j], std::move(x), given.time, c.groups, c.eps);
  if (j < w.transformers.size()) x = ForwardTransformer(w.transformers[j], x, given.prompt, w.heads, c.groups);
  if (j < w.attentions.size()) x = ForwardSpatialAttention(w.attentions[j], x, w.heads, c.groups, c.eps);
  return x;
}

}  // namespace

Tensor ForwardUnet(const Unet& w, const Tensor& sample, const Tensor& timesteps, const Tensor& class_labels,
                   const Tensor& prompt) {
  const UnetConfig& c = w.config;
  const int64_t n = sample.size(0);
  ExpectShape(sample, {-1, c.in_channels, -1, -1}, "sample");
  ExpectShape(timesteps, {n}, "timesteps");
  GENVIEW_CHECK(class_labels.defined() == (c.class_width > 0), "the class vector goes with class_embed_type");
  if (class_labels.defined()) ExpectShape(class_labels, {n, c.class_width}, "class_labels");
  GENVIEW_CHECK(prompt.defined() || !c.HasCrossAttention(), "blocks with cross attention need a prompt");
  const at::ScalarType dtype = w.conv_in.bias.scalar_type();  // weights may be kept narrower

  Tensor time =
      ForwardEmbeddingMlp(w.time, SinusoidEmbedding(timesteps, c.channels[0], c.flip_sin_to_cos, c.freq_shift));
  if (class_labels.defined()) time = time + ForwardEmbeddingMlp(w.class_embedding, class_labels);
  const Conditions given{at::silu(time), prompt.defined() ? prompt.to(dtype) : prompt};

  // In the memory order of the weights; see vae.cc.
  Tensor x =
      Conv(w.conv_in, sample.to(dtype).contiguous(w.conv_in.weight.suggest_memory_format()), 1, 1);  // [N,C0,h,w]
  std::vector<Tensor> skips{x};
  for (const UnetBlock& block : w.down) {
    for (size_t j = 0; j < block.resnets.size(); ++j) {
      x = ForwardLayer(block, j, std::move(x), given, c);
      skips.push_back(x);
    }
    if (block.sampler.weight.defined()) {
      x = Conv3x3(block.sampler, x, 2);  // half the size
      skips.push_back(x);
    }
  }
  for (size_t j = 0; j < w.mid.resnets.size(); ++j) x = ForwardLayer(w.mid, j, std::move(x), given, c);
  for (const UnetBlock& block : w.up) {
    for (size_t j = 0; j < block.resnets.size(); ++j) {
      x = at::cat({x, skips.back()}, 1);
      skips.pop_back();
      x = ForwardLayer(block, j, std::move(x), given, c);
    }
    // To the size of the skip that comes next: twice, save where an odd size was halved.
    if (block.sampler.weight.defined()) x = Upsample(block.sampler, x, skips.back().size(2), skips.back().size(3));
  }
  return Conv3x3(w.conv_out, GroupNormThen(AfterNorm::kSilu, w.norm_out, std::move(x), c.groups, c.eps));
}

Unet ReadUnetFolder(const Path& folder, Reads reads) {
  Unet unet = MakeUnet(ParseUnetConfig(ReadJson(folder / "config.json"), (folder / "config.json").string()));
  WeightMap weights;
  WeightReader reader(weights, reads);
  weights = WithPresentNames(ReadFolderWeights(folder, {kWeightsName}), reader);
  LoadWeights(ListWeights(unet), reader, /*channels_last=*/true);
  reader.Finish();
  return unet;
}

void WriteUnetFolder(Unet& unet, const Path& folder, at::ScalarType dtype) {
  WriteSafetensors(folder / (std::string(kWeightsName) + ".safetensors"), NamedTensors(ListWeights(unet), "", dtype),
                   {{"format", "pt"}});
  WriteJson(folder / "config.json", UnetConfigToJson(unet.config));
}

}  // namespace genview
