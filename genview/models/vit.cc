#include "genview/models/vit.h"

#include <cmath>

#include "genview/base/error.h"

namespace genview {

Vit MakeVit(const VitConfig& c) {
  const auto refuse = [](std::string what, const char* next) {
    throw UsageError({.what = std::move(what), .where = "backbone", .next = next});
  };
  if (c.patch_size < 1 || c.image_size < c.patch_size || c.image_size % c.patch_size != 0) {
    refuse(Format("pictures of {} px cannot be cut into patches of {} px", c.image_size, c.patch_size),
           "choose a patch size that divides the picture size");
  }
  if (c.heads < 1 || c.width % c.heads != 0) {
    refuse(Format("a width of {} cannot be shared by {} heads", c.width, c.heads),
           "choose heads that divide the width");
  }
  if (c.positions == VitPositions::kSinCos && c.width % 4 != 0) {
    refuse(Format("sin-cos positions need a width divisible by 4, not {}", c.width),
           "choose another width or learned positions");
  }
  Vit vit;
  vit.config = c;
  vit.patch = MakeConv(3, c.width, c.patch_size);
  vit.class_token = at::empty({1, 1, c.width});
  vit.positions = at::empty({1, 1 + c.tokens(), c.width});
  for (int64_t i = 0; i < c.layers; ++i) vit.blocks.push_back(MakeEncoderBlock(c.width, c.mlp_width));
  vit.norm = MakeNorm(c.width);
  return vit;
}

WeightList ListWeights(Vit& vit) {
  const bool fixed = vit.config.positions == VitPositions::kSinCos, frozen = vit.config.frozen_patch;
  WeightList list;
  Append(list, "cls_token", vit.class_token, WeightRole::kEmbedding);
  Append(list, "pos_embed", vit.positions, fixed ? WeightRole::kBuffer : WeightRole::kEmbedding);
  Append(list, "patch_embed.proj.weight", vit.patch.weight, frozen ? WeightRole::kBuffer : WeightRole::kWeight);
  Append(list, "patch_embed.proj.bias", vit.patch.bias, frozen ? WeightRole::kBuffer : WeightRole::kBias);
  for (size_t i = 0; i < vit.blocks.size(); ++i) {
    EncoderBlock& b = vit.blocks[i];
    const std::string name = Format("blocks.{}.", i);
    Append(list, name + "norm1", b.norm1);
    Append(list, name + "attn.qkv", b.qkv);
    Append(list, name + "attn.proj", b.proj);
    Append(list, name + "norm2", b.norm2);
    Append(list, name + "mlp.fc1", b.fc1);
    Append(list, name + "mlp.fc2", b.fc2);
  }
  Append(list, "norm", vit.norm);
  return list;
}

void InitVit(Vit& vit, Seed seed) {
  const VitConfig& c = vit.config;
  const bool moco = c.positions == VitPositions::kSinCos;
  const auto uniform = [&](const std::string& name, Tensor& tensor, int64_t in, int64_t out) {
    const double bound = std::sqrt(6.0 / static_cast<double>(in + out));
    tensor = UniformTensor(seed.With(name), tensor.sizes(), -bound, bound);
  };
  InitWeights(ListWeights(vit), seed);
  vit.class_token = NormalTensor(seed.With("cls_token"), vit.class_token.sizes()).mul_(1e-6);
  vit.positions = moco ? SinCosPositions(c.grid(), c.width).unsqueeze(0)
                       : NormalTensor(seed.With("pos_embed"), vit.positions.sizes()).mul_(0.02);
  const int64_t fan_in = 3 * c.patch_size * c.patch_size;
  if (moco || c.frozen_patch) uniform("patch_embed", vit.patch.weight, fan_in, c.width);
  if (moco || c.frozen_patch) vit.patch.bias = at::zeros_like(vit.patch.bias);
  for (size_t i = 0; i < vit.blocks.size(); ++i) {
    EncoderBlock& b = vit.blocks[i];
    const std::pair<const char*, LinearWeights*> layers[] = {
        {"qkv", &b.qkv}, {"proj", &b.proj}, {"fc1", &b.fc1}, {"fc2", &b.fc2}};
    for (const auto& [name, layer] : layers) {
      const std::string own = Format("blocks.{}.{}", i, name);
      Tensor& weight = layer->weight;
      if (moco) uniform(own, weight, weight.size(1), layer == &b.qkv ? c.width : weight.size(0));
      else weight = NormalTensor(seed.With(own), weight.sizes()).mul_(0.02);
      layer->bias = at::zeros_like(layer->bias);
    }
  }
}

Tensor SinCosPositions(int64_t grid, int64_t width) {
  const int64_t quarter = width / 4;
  const auto options = at::TensorOptions().dtype(at::kDouble);
  const Tensor omega = at::pow(10000.0, at::arange(quarter, options) / -static_cast<double>(quarter));
  const Tensor places = at::arange(grid, options);
  const Tensor row = at::outer(places.repeat_interleave(grid), omega), column = at::outer(places.repeat({grid}), omega);
  const Tensor patches = at::cat({row.sin(), row.cos(), column.sin(), column.cos()}, 1);  // [T,C]
  return at::cat({at::zeros({1, width}, options), patches}).to(at::kFloat);
}

Tensor KeepFactors(double rate, Seed seed, int64_t pictures) {
  std::vector<float> factors;
  for (uint64_t branch = 0; branch < 2; ++branch) {
    Random random(seed.With(branch));
    for (int64_t i = 0; i < pictures; ++i)
      factors.push_back(random.Chance(rate) ? 0.0F : static_cast<float>(1 / (1 - rate)));
  }
  return at::tensor(at::ArrayRef<float>(factors)).view({2, pictures, 1, 1});
}

VitOutput ForwardVit(const Vit& w, const Tensor& pixels, const DropPath& drop) {
  const VitConfig& c = w.config;
  ExpectShape(pixels, {-1, 3, c.image_size, c.image_size}, "pixels");
  const int64_t n = pixels.size(0);
  const Tensor patches = Conv(w.patch, pixels, c.patch_size).flatten(2).transpose(1, 2);  // [N,T,C]
  Tensor x = at::cat({w.class_token.to(patches.scalar_type()).expand({n, 1, c.width}), patches}, 1) + w.positions;
  EncoderBlockOptions options{.heads = c.heads, .activation = Activation::kGelu, .eps = c.norm_eps};
  for (size_t i = 0; i < w.blocks.size(); ++i) {
    const double rate = i == 0 ? 0 : drop.rate * static_cast<double>(i) / static_cast<double>(w.blocks.size() - 1);
    if (rate > 0) {
      const Tensor keep = KeepFactors(rate, drop.seed.With(i), n).to(x.device());
      options.keep1 = keep[0];
      options.keep2 = keep[1];
    }
    x = ForwardEncoderBlock(w.blocks[i], options, x);
  }
  x = LayerNorm(w.norm, x, c.norm_eps);  // [N,1+T,C]
  return {.pooled = x.select(1, 0), .tokens = x.narrow(1, 1, c.tokens())};
}

}  // namespace genview
