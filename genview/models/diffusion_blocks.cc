#include "genview/models/diffusion_blocks.h"

#include <cmath>

#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>

#include "genview/models/winograd.h"

namespace genview {

Tensor SinusoidEmbedding(const Tensor& t, int64_t width, bool cos_first, double shift) {
  const int64_t half = width / 2;
  const auto options = t.options().dtype(at::kFloat);
  // In the order of the original's roundings: (-ln 10000 * k) / (half - shift), all in fp32.
  const Tensor rates = at::exp(at::arange(half, options) * -std::log(10000.0) / (static_cast<double>(half) - shift));
  const Tensor phase = t.to(at::kFloat).unsqueeze(1) * rates;  // [N,half]
  const Tensor waves = cos_first ? at::cat({phase.cos(), phase.sin()}, 1) : at::cat({phase.sin(), phase.cos()}, 1);
  return width % 2 == 0 ? waves : at::constant_pad_nd(waves, {0, 1});
}

EmbeddingMlp MakeEmbeddingMlp(int64_t in, int64_t out) { return {MakeLinear(in, out), MakeLinear(out, out)}; }

void Append(WeightList& list, const std::string& prefix, EmbeddingMlp& w) {
  Append(list, prefix + ".linear_1", w.linear1);
  Append(list, prefix + ".linear_2", w.linear2);
}

Tensor ForwardEmbeddingMlp(const EmbeddingMlp& w, const Tensor& x) {
  return Linear(w.linear2, at::silu(Linear(w.linear1, x.to(w.linear1.bias.scalar_type()))));
}

ResnetBlock MakeResnetBlock(int64_t in, int64_t out, int64_t time_width) {
  ResnetBlock w{MakeNorm(in), MakeConv(in, out, 3), {}, MakeNorm(out), MakeConv(out, out, 3), {}};
  if (time_width > 0) w.time = MakeLinear(time_width, out);
  if (in != out) w.shortcut = MakeConv(in, out, 1);
  return w;
}

void Append(WeightList& list, const std::string& prefix, ResnetBlock& w) {
  Append(list, prefix + ".norm1", w.norm1);
  Append(list, prefix + ".conv1", w.conv1);
  Append(list, prefix + ".time_emb_proj", w.time);
  Append(list, prefix + ".norm2", w.norm2);
  Append(list, prefix + ".conv2", w.conv2);
  Append(list, prefix + ".conv_shortcut", w.shortcut);
}

// Where a picture has fewer pixels than the weights have rows, a convolution is mostly the reading of its weights. As a
// product of every pixel's 3x3 neighbours and the weights as they lie in memory it needs no copy of them in another
// order.
static bool FitsAProduct(const ConvWeights& w, const Tensor& x, int64_t stride) {
  const int64_t pixels = x.size(0) * ((x.size(2) - 1) / stride + 1) * ((x.size(3) - 1) / stride + 1);
  return x.is_cpu() && x.scalar_type() == at::kFloat && !c10::GradMode::is_enabled() &&
         !at::autocast::is_autocast_enabled(at::kCPU) && pixels <= w.weight.size(0) &&
         w.weight.is_contiguous(at::MemoryFormat::ChannelsLast);
}

static Tensor ConvAsProduct(const ConvWeights& w, const Tensor& x, int64_t stride) {
  const int64_t height = (x.size(2) - 1) / stride + 1, width = (x.size(3) - 1) / stride + 1;
  const Tensor padded = at::constant_pad_nd(x.permute({0, 2, 3, 1}), {0, 0, 1, 1, 1, 1});  // [N,H+2,W+2,C]
  std::vector<Tensor> neighbours;
  for (int64_t tap = 0; tap < 9; ++tap) {
    const int64_t top = tap / 3, left = tap % 3;
    neighbours.push_back(padded.slice(1, top, top + (height - 1) * stride + 1, stride)
                             .slice(2, left, left + (width - 1) * stride + 1, stride));
  }
  const Tensor matrix = w.weight.permute({0, 2, 3, 1}).flatten(1);                // [O,9C]
  return Linear({matrix, w.bias}, at::cat(neighbours, 3)).permute({0, 3, 1, 2});  // [N,O,h,w]
}

Tensor Conv3x3(const ConvWeights& w, const Tensor& x, int64_t stride) {
  if (stride == 1 && WinogradFits(w, x, 1)) return WinogradConv(w, x, 1);
  return FitsAProduct(w, x, stride) ? ConvAsProduct(w, x, stride) : Conv(w, x, stride, 1);
}

Tensor Plus(Tensor x, const Tensor& y) { return c10::GradMode::is_enabled() ? x + y : x.add_(y); }

Tensor ForwardResnetBlock(const ResnetBlock& w, Tensor x, const Tensor& time, int64_t groups, double eps) {
  // What goes around the block comes first: the norm may then take the memory of x. A 1x1 convolution is a matrix
  // product over the pixels, and no reordering of weights.
  const Tensor around = w.shortcut.weight.defined()
                            ? TokensToPixels(Linear({w.shortcut.weight.flatten(1), w.shortcut.bias}, PixelsToTokens(x)),
                                             x.size(2), x.size(3))
                            : x;
  Tensor h = Conv3x3(w.conv1, GroupNormThen(AfterNorm::kSilu, w.norm1, std::move(x), groups, eps));  // [N,C,H,W]
  if (w.time.weight.defined()) h = Plus(std::move(h), Linear(w.time, time).unsqueeze(2).unsqueeze(3));
  h = Conv3x3(w.conv2, GroupNormThen(AfterNorm::kSilu, w.norm2, std::move(h), groups, eps));
  return Plus(std::move(h), around);
}

SpatialAttention MakeSpatialAttention(int64_t channels) {
  return {MakeNorm(channels), MakeLinear(channels, channels), MakeLinear(channels, channels),
          MakeLinear(channels, channels), MakeLinear(channels, channels)};
}

void Append(WeightList& list, const std::string& prefix, SpatialAttention& w) {
  Append(list, prefix + ".group_norm", w.norm);
  Append(list, prefix + ".to_q", w.q);
  Append(list, prefix + ".to_k", w.k);
  Append(list, prefix + ".to_v", w.v);
  Append(list, prefix + ".to_out.0", w.out);
}

Tensor ForwardSpatialAttention(const SpatialAttention& w, const Tensor& x, int64_t heads, int64_t groups, double eps) {
  const Tensor tokens = PixelsToTokens(GroupNormThen(AfterNorm::kNothing, w.norm, x, groups, eps));  // [N,HW,C]
  const Tensor mixed = Attention(Linear(w.q, tokens), Linear(w.k, tokens), Linear(w.v, tokens), heads);
  return Plus(TokensToPixels(Linear(w.out, mixed), x.size(2), x.size(3)), x);
}

Tensor Upsample(const ConvWeights& w, const Tensor& x, int64_t height, int64_t width) {
  if (height == 2 * x.size(2) && width == 2 * x.size(3) && WinogradFits(w, x, 2)) return WinogradConv(w, x, 2);
  return Conv3x3(w, at::upsample_nearest2d(x, {height, width}));
}

Tensor PixelsToTokens(const Tensor& x) {
  return x.permute({0, 2, 3, 1}).reshape({x.size(0), x.size(2) * x.size(3), x.size(1)});
}

Tensor TokensToPixels(const Tensor& x, int64_t height, int64_t width) {
  return x.view({x.size(0), height, width, x.size(2)}).permute({0, 3, 1, 2});
}

}  // namespace genview
