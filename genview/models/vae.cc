#include "genview/models/vae.h"

#include <algorithm>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/models/config_reader.h"
#include "genview/models/weight_files.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

constexpr double kEps = 1e-6;  // of every norm; fixed in diffusers
constexpr const char* kWeightsName = "diffusion_pytorch_model";

}  // namespace

VaeConfig ParseVaeConfig(const Json& json, const std::string& where) {
  ConfigReader reader(json, where);
  VaeConfig c;
  c.in_channels = reader.Int("in_channels", 3, 1, 64);
  c.out_channels = reader.Int("out_channels", 3, 1, 64);
  c.latent_channels = reader.Int("latent_channels", 4, 1, 1024);
  c.channels = reader.Ints("block_out_channels", {64}, 1, 8192);
  if (c.channels.empty() || c.channels.size() > 8) reader.Fail("block_out_channels", "1 to 8 blocks");
  c.layers_per_block = reader.Int("layers_per_block", 1, 1, 16);
  c.groups = reader.Int("norm_num_groups", 32, 1, 8192);
  for (const int64_t width : c.channels) {
    if (width % c.groups != 0)
      reader.Fail("norm_num_groups", Format("a divisor of every block_out_channels ({})", fmt::join(c.channels, ", ")));
  }
  for (const auto& [key, type] :
       {std::pair{"down_block_types", "DownEncoderBlock2D"}, std::pair{"up_block_types", "UpDecoderBlock2D"}}) {
    const auto types = reader.Strings(key, {type});
    if (types.size() != c.channels.size() ||
        std::count(types.begin(), types.end(), type) != static_cast<int64_t>(types.size())) {
      reader.Fail(key, Format("{} for each of the {} blocks", type, c.channels.size()));
    }
  }
  if (json.contains("sample_size") && json.at("sample_size").is_array()) {
    const auto size = reader.Ints("sample_size", {}, 1, 1 << 16);
    if (size.size() != 2 || size[0] != size[1]) reader.Fail("sample_size", "a number");
    c.sample_size = size[0];
  } else {
    c.sample_size = reader.Int("sample_size", 32, 1, 1 << 16);
  }
  c.scaling_factor = reader.Double("scaling_factor", 0.18215);
  if (!(c.scaling_factor > 0)) reader.Fail("scaling_factor", "a positive number");
  c.use_quant_conv = reader.Bool("use_quant_conv", true);
  c.use_post_quant_conv = reader.Bool("use_post_quant_conv", true);
  c.mid_attention = reader.Bool("mid_block_add_attention", true);
  reader.Allow("act_fn", {"silu", "swish"});
  for (const char* key : {"shift_factor", "latents_mean", "latents_std"})
    reader.Ignore(key);           // of other pipelines: Stable unCLIP scales its latents and no more
  reader.Ignore("force_upcast");  // a hint for half precision in other pipelines
  reader.Finish();
  return c;
}

Json VaeConfigToJson(const VaeConfig& c) {
  Json json;
  json["_class_name"] = "AutoencoderKL";
  json["_diffusers_version"] = kDiffusersVersion;
  json["in_channels"] = c.in_channels;
  json["out_channels"] = c.out_channels;
  json["latent_channels"] = c.latent_channels;
  json["block_out_channels"] = c.channels;
  json["down_block_types"] = std::vector<std::string>(c.channels.size(), "DownEncoderBlock2D");
  json["up_block_types"] = std::vector<std::string>(c.channels.size(), "UpDecoderBlock2D");
  json["layers_per_block"] = c.layers_per_block;
  json["norm_num_groups"] = c.groups;
  json["sample_size"] = c.sample_size;
  json["scaling_factor"] = c.scaling_factor;
  json["act_fn"] = "silu";
  json["force_upcast"] = true;
  // Members of late versions are written only where they say something.
  if (!c.use_quant_conv) json["use_quant_conv"] = false;
  if (!c.use_post_quant_conv) json["use_post_quant_conv"] = false;
  if (!c.mid_attention) json["mid_block_add_attention"] = false;
  return json;
}

namespace {

VaeMid MakeMid(int64_t width, bool attention) {
  return {MakeResnetBlock(width, width, 0), MakeResnetBlock(width, width, 0),
          attention ? MakeSpatialAttention(width) : SpatialAttention{}};
}

VaeHalf MakeEncoder(const VaeConfig& c) {
  VaeHalf half;
  int64_t width = c.channels.front();
  half.conv_in = MakeConv(c.in_channels, width, 3);
  for (size_t i = 0; i < c.channels.size(); ++i) {
    VaeBlock block;
    for (int64_t j = 0; j < c.layers_per_block; ++j) {
      block.resnets.push_back(MakeResnetBlock(width, c.channels[i], 0));
      width = c.channels[i];
    }
    if (i + 1 < c.channels.size()) block.sampler = MakeConv(width, width, 3);
    half.blocks.push_back(std::move(block));
  }
  half.mid = MakeMid(width, c.mid_attention);
  half.norm_out = MakeNorm(width);
  half.conv_out = MakeConv(width, 2 * c.latent_channels, 3);
  return half;
}

VaeHalf MakeDecoder(const VaeConfig& c) {
  VaeHalf half;
  int64_t width = c.channels.back();
  half.conv_in = MakeConv(c.latent_channels, width, 3);
  half.mid = MakeMid(width, c.mid_attention);
  for (size_t i = 0; i < c.channels.size(); ++i) {
    const int64_t out = c.channels[c.channels.size() - 1 - i];
    VaeBlock block;
    for (int64_t j = 0; j <= c.layers_per_block; ++j) {
      block.resnets.push_back(MakeResnetBlock(width, out, 0));
      width = out;
    }
    if (i + 1 < c.channels.size()) block.sampler = MakeConv(width, width, 3);
    half.blocks.push_back(std::move(block));
  }
  half.norm_out = MakeNorm(width);
  half.conv_out = MakeConv(width, c.out_channels, 3);
  return half;
}

void Append(WeightList& list, const std::string& prefix, VaeHalf& w, const char* blocks, const char* sampler) {
  Append(list, prefix + ".conv_in", w.conv_in);
  for (size_t i = 0; i < w.blocks.size(); ++i) {
    for (size_t j = 0; j < w.blocks[i].resnets.size(); ++j) {
      Append(list, Format("{}.{}.{}.resnets.{}", prefix, blocks, i, j), w.blocks[i].resnets[j]);
    }
    Append(list, Format("{}.{}.{}.{}.0.conv", prefix, blocks, i, sampler), w.blocks[i].sampler);
  }
  Append(list, prefix + ".mid_block.resnets.0", w.mid.first);
  Append(list, prefix + ".mid_block.attentions.0", w.mid.attention);
  Append(list, prefix + ".mid_block.resnets.1", w.mid.second);
  Append(list, prefix + ".conv_norm_out", w.norm_out);
  Append(list, prefix + ".conv_out", w.conv_out);
}

}  // namespace

Vae MakeVae(const VaeConfig& c) {
  Vae w{c, MakeEncoder(c), MakeDecoder(c), {}, {}};
  if (c.use_quant_conv) w.quant_conv = MakeConv(2 * c.latent_channels, 2 * c.latent_channels, 1);
  if (c.use_post_quant_conv) w.post_quant_conv = MakeConv(c.latent_channels, c.latent_channels, 1);
  return w;
}

WeightList ListWeights(Vae& w) {
  WeightList list;
  Append(list, "encoder", w.encoder, "down_blocks", "downsamplers");
  Append(list, "decoder", w.decoder, "up_blocks", "upsamplers");
  Append(list, "quant_conv", w.quant_conv);
  Append(list, "post_quant_conv", w.post_quant_conv);
  return list;
}

namespace {

Tensor ForwardMid(const VaeMid& w, Tensor x, const VaeConfig& c) {
  x = ForwardResnetBlock(w.first, std::move(x), {}, c.groups, kEps);
  if (w.attention.q.weight.defined()) x = ForwardSpatialAttention(w.attention, x, /*heads=*/1, c.groups, kEps);
  return ForwardResnetBlock(w.second, std::move(x), {}, c.groups, kEps);
}

Tensor ForwardOut(const VaeHalf& w, Tensor x, const VaeConfig& c) {
  return Conv3x3(w.conv_out, GroupNormThen(AfterNorm::kSilu, w.norm_out, std::move(x), c.groups, kEps));
}

// In the memory order of the weights: channels-last is fastest for inference; in training on the CPU, where
// generator/autoencoder.cc leaves them in plain order, it makes no difference to an autoencoder.
Tensor AtDoor(const ConvWeights& first, const Tensor& x) {
  return x.to(first.bias.scalar_type()).contiguous(first.weight.suggest_memory_format());
}

}  // namespace

VaeMoments EncodeVae(const Vae& w, const Tensor& pixels) {
  const VaeConfig& c = w.config;
  ExpectShape(pixels, {-1, c.in_channels, -1, -1}, "pixels");
  Tensor x = Conv(w.encoder.conv_in, AtDoor(w.encoder.conv_in, pixels), 1, 1);
  for (const VaeBlock& block : w.encoder.blocks) {
    for (const ResnetBlock& resnet : block.resnets) x = ForwardResnetBlock(resnet, std::move(x), {}, c.groups, kEps);
    // One row and column of zeros below and to the right only, as the original trained it.
    if (block.sampler.weight.defined()) x = Conv(block.sampler, at::constant_pad_nd(x, {0, 1, 0, 1}), 2, 0);
  }
  x = ForwardOut(w.encoder, ForwardMid(w.encoder.mid, std::move(x), c), c);  // [N,2L,h,w]
  if (w.quant_conv.weight.defined()) x = Conv(w.quant_conv, x);
  const auto halves = x.chunk(2, 1);
  return {halves[0], halves[1].clamp(-30.0, 20.0)};
}

Tensor DecodeVae(const Vae& w, const Tensor& latents) {
  const VaeConfig& c = w.config;
  ExpectShape(latents, {-1, c.latent_channels, -1, -1}, "latents");
  Tensor x = AtDoor(w.decoder.conv_in, latents);
  if (w.post_quant_conv.weight.defined()) x = Conv(w.post_quant_conv, x);
  x = ForwardMid(w.decoder.mid, Conv3x3(w.decoder.conv_in, x), c);
  for (const VaeBlock& block : w.decoder.blocks) {
    for (const ResnetBlock& resnet : block.resnets) x = ForwardResnetBlock(resnet, std::move(x), {}, c.groups, kEps);
    if (block.sampler.weight.defined()) x = Upsample(block.sampler, x, 2 * x.size(2), 2 * x.size(3));
  }
  return ForwardOut(w.decoder, std::move(x), c);
}

int64_t VaeTileSide(const VaeConfig& c) { return std::max<int64_t>(4, c.sample_size / c.scale() / 4 * 4); }

int64_t VaePicturesAtOnce(int64_t pixels) { return std::max<int64_t>(1, (int64_t{1} << 20) / pixels); }

// The last but one width at full size is the largest thing there is: a layer's input, its output, and what the norm
// between makes of it.
uint64_t DecodeVaeBytes(const VaeConfig& c, int64_t h, int64_t w) {
  const int64_t widest = c.channels[std::min<size_t>(1, c.channels.size() - 1)];
  return 3 * sizeof(float) * static_cast<uint64_t>(widest * h * w * c.scale() * c.scale());
}

// The first rows (dim 2) or columns (dim 3) of a tile come out of the last ones of the tile before it. At the edge,
// where a tile is smaller than the overlap, they are as many as it has.
static void FadeIn(const Tensor& before, const Tensor& tile, int64_t dim, int64_t overlap) {
  const int64_t extent = std::min({overlap, before.size(dim), tile.size(dim)});
  const Tensor ramp = at::arange(extent, tile.options()) / extent, share = dim == 2 ? ramp.unsqueeze(1) : ramp;
  const Tensor begin = tile.narrow(dim, 0, extent);
  begin.copy_(before.narrow(dim, before.size(dim) - extent, extent) * (1 - share) + begin * share);
}

Tensor DecodeVaeInTiles(const Vae& w, const Tensor& latents) {
  const int64_t side = VaeTileSide(w.config), step = side * 3 / 4, scale = w.config.scale();
  if (latents.size(2) <= side && latents.size(3) <= side) return DecodeVae(w, latents).to(at::kFloat);
  std::vector<Tensor> strips, above;
  for (int64_t y = 0; y < latents.size(2); y += step) {
    std::vector<Tensor> row, parts;
    for (int64_t x = 0; x < latents.size(3); x += step) {
      const Tensor tile =
          DecodeVae(w, latents.slice(2, y, y + side).slice(3, x, x + side)).to(at::kFloat);  // [N,3,<=S,<=S]
      if (y > 0) FadeIn(above[row.size()], tile, 2, (side - step) * scale);
      if (x > 0) FadeIn(row.back(), tile, 3, (side - step) * scale);
      row.push_back(tile);
      parts.push_back(tile.slice(2, 0, step * scale).slice(3, 0, step * scale));
    }
    strips.push_back(at::cat(parts, 3));
    above = std::move(row);
  }
  return at::cat(strips, 2);
}

Vae ReadVaeFolder(const Path& folder, Reads reads) {
  Vae vae = MakeVae(ParseVaeConfig(ReadJson(folder / "config.json"), (folder / "config.json").string()));
  WeightMap weights;
  WeightReader reader(weights, reads);
  weights = WithPresentNames(ReadFolderWeights(folder, {kWeightsName}), reader);
  LoadWeights(ListWeights(vae), reader, /*channels_last=*/true);
  reader.Finish();
  return vae;
}

void WriteVaeFolder(Vae& vae, const Path& folder, at::ScalarType dtype) {
  WriteSafetensors(folder / (std::string(kWeightsName) + ".safetensors"), NamedTensors(ListWeights(vae), "", dtype),
                   {{"format", "pt"}});
  WriteJson(folder / "config.json", VaeConfigToJson(vae.config));
}

}  // namespace genview
