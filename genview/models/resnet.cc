#include "genview/models/resnet.h"

#include <cmath>

#include "genview/base/error.h"
#include "genview/models/batch_norm.h"

namespace genview {

int64_t ResnetConfig::planes(int64_t stage) const { return std::max<int64_t>(1, std::llround(64 * width)) << stage; }

std::array<int64_t, 4> ResnetConfig::blocks() const {
  if (depth == 18) return {2, 2, 2, 2};
  return {3, 4, 6, 3};
}

static ResidualBlock MakeBlock(int64_t in, int64_t planes, bool bottleneck, int64_t stride) {
  ResidualBlock block;
  block.stride = stride;
  const int64_t out = bottleneck ? 4 * planes : planes;
  const auto add = [&](int64_t from, int64_t to, int64_t kernel) {
    block.convs.push_back(MakeConv(from, to, kernel, /*bias=*/false));
    block.norms.push_back(MakeBatchNorm(to));
  };
  if (bottleneck) {
    add(in, planes, 1);
    add(planes, planes, 3);
    add(planes, out, 1);
  } else {
    add(in, planes, 3);
    add(planes, planes, 3);
  }
  if (stride != 1 || in != out) {
    block.shortcut = MakeConv(in, out, 1, /*bias=*/false);
    block.shortcut_norm = MakeBatchNorm(out);
  }
  return block;
}

Resnet MakeResnet(const ResnetConfig& c) {
  if (c.depth != 18 && c.depth != 34 && c.depth != 50) {
    throw UsageError({.what = Format("a ResNet of {} layers is not known", c.depth),
                      .where = "backbone",
                      .next = "use resnet18, resnet34 or resnet50"});
  }
  if (c.stem_padding != 1 && (!c.small_stem || c.stem_padding != 2)) {
    throw UsageError({.what = c.small_stem ? Format("the 3 x 3 stem has no padding of {}", c.stem_padding)
                                           : Format("a padding of {} is for the 3 x 3 stem, and the ResNet has the "
                                                    "usual one of 7 x 7",
                                                    c.stem_padding),
                      .where = "key `stem_padding` of the backbone",
                      .next = c.small_stem ? "use 1 or 2" : "leave it at 1, or use the small stem"});
  }
  Resnet net;
  net.config = c;
  int64_t in = c.planes(0);
  net.stem = MakeConv(3, in, c.small_stem ? 3 : 7, /*bias=*/false);
  net.stem_norm = MakeBatchNorm(in);
  for (int64_t stage = 0; stage < 4; ++stage) {
    for (int64_t i = 0; i < c.blocks()[static_cast<size_t>(stage)]; ++i) {
      auto& blocks = net.stages[static_cast<size_t>(stage)];
      blocks.push_back(MakeBlock(in, c.planes(stage), c.bottleneck(), stage > 0 && i == 0 ? 2 : 1));
      in = blocks.back().norms.back().running_mean.size(0);
    }
  }
  return net;
}

WeightList ListWeights(Resnet& net) {
  WeightList list;
  Append(list, "conv1", net.stem);
  Append(list, "bn1", net.stem_norm);
  for (size_t stage = 0; stage < 4; ++stage) {
    for (size_t i = 0; i < net.stages[stage].size(); ++i) {
      ResidualBlock& block = net.stages[stage][i];
      const std::string name = Format("layer{}.{}", stage + 1, i);
      for (size_t k = 0; k < block.convs.size(); ++k) {
        Append(list, Format("{}.conv{}", name, k + 1), block.convs[k]);
        Append(list, Format("{}.bn{}", name, k + 1), block.norms[k]);
      }
      Append(list, name + ".downsample.0", block.shortcut);
      Append(list, name + ".downsample.1", block.shortcut_norm);
    }
  }
  return list;
}

void InitResnet(Resnet& net, Seed seed) {
  const WeightList list = ListWeights(net);
  InitWeights(list, seed);
  for (const WeightRef& ref : list) {
    if (ref.role != WeightRole::kWeight) continue;
    Tensor& weight = *ref.tensor;  // [out,in,k,k]
    const double fan_out = static_cast<double>(weight.size(0) * weight.size(2) * weight.size(3));
    weight = NormalTensor(seed.With(ref.name), weight.sizes()).mul_(std::sqrt(2 / fan_out));
  }
  if (!net.config.zero_init_residual) return;
  for (auto& blocks : net.stages) {
    for (ResidualBlock& block : blocks) block.norms.back().weight = at::zeros_like(block.norms.back().weight);
  }
}

// The 1 x 1 convolution of a shortcut as the product that it is, of the pixels that the stride leaves with its matrix:
// pooling of one pixel picks them in one operation, forwards and backwards. No slower than oneDNN's strided
// convolution, whose backward pass for few channels crashes (3.10, jit_avx512_common_1x1_convolution_bwd_weights).
static Tensor PointwiseConv(const ConvWeights& w, const Tensor& x, int64_t stride) {
  const Tensor picked = stride == 1 ? x : at::avg_pool2d(x, {1, 1}, {stride, stride});
  const Tensor y = at::linear(picked.permute({0, 2, 3, 1}), w.weight.flatten(1), w.bias);  // [N,h,w,out]
  return y.permute({0, 3, 1, 2});
}

static Tensor ForwardBlock(const ResidualBlock& w, const Tensor& x, bool training) {
  const Tensor skip = w.shortcut.weight.defined() ? BatchNormThen(AfterBatchNorm::kNothing, w.shortcut_norm,
                                                                  PointwiseConv(w.shortcut, x, w.stride), training)
                                                  : x;
  Tensor y = x;
  bool strided = false;  // the first 3x3 carries the stride
  for (size_t k = 0; k < w.convs.size(); ++k) {
    const int64_t padding = w.convs[k].weight.size(2) / 2;
    const int64_t stride = padding == 1 && !strided ? w.stride : 1;
    strided |= padding == 1;
    y = BatchNormThen(AfterBatchNorm::kRelu, w.norms[k], Conv(w.convs[k], y, stride, padding), training,
                      k + 1 < w.convs.size() ? Tensor() : skip);
  }
  return y;
}

ResnetOutput ForwardResnet(const Resnet& w, const Tensor& x, bool training) {
  ExpectShape(x, {-1, 3, -1, -1}, "pixels");
  Tensor y = w.config.small_stem ? Conv(w.stem, x, 1, w.config.stem_padding) : Conv(w.stem, x, 2, 3);
  y = BatchNormThen(AfterBatchNorm::kRelu, w.stem_norm, y, training);
  if (!w.config.small_stem) y = at::max_pool2d(y, {3, 3}, {2, 2}, {1, 1});
  for (const auto& blocks : w.stages) {
    for (const ResidualBlock& block : blocks) y = ForwardBlock(block, y, training);
  }
  return {.pooled = y.mean(at::IntArrayRef{2, 3}), .map = y};  // [N,D,h,w]
}

}  // namespace genview
