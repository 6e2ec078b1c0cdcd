#include "genview/eval/probe.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <c10/core/GradMode.h>

#include "genview/eval/probe_descent.h"
#include "genview/tensor/device.h"

namespace genview {

static Tensor Enter(const Probe& probe, const Tensor& features) {
  return (features.to(at::kFloat) - probe.mean) * probe.scale;
}

// All classifiers side by side, [R,D,C] <-> [D,R*C]: one product of the features with all of them, not one with each.
static Tensor SideBySide(const Tensor& weight) {
  return weight.permute({1, 0, 2}).reshape({weight.size(1), weight.size(0) * weight.size(2)});
}
static Tensor OneByOne(const Tensor& weight, int64_t rates) {
  return weight.view({weight.size(0), rates, -1}).permute({1, 0, 2}).contiguous();
}

Probe MakeProbe(const Tensor& features, int64_t classes, const ProbeConfig& config, Seed seed) {
  ExpectShape(features, {-1, -1}, "features");
  const int64_t width = features.size(1), rates = static_cast<int64_t>(config.rates.size());
  const Tensor start = NormalTensor(seed.With("weight"), {width, classes}) * 0.01;
  Probe probe{.weight = start.expand({rates, width, classes}).contiguous(),
              .bias = at::zeros({rates, 1, classes}),
              .mean = at::zeros({width}),
              .scale = at::ones({width})};
  if (config.standardise) {
    const Tensor x = features.to(at::kFloat);
    probe.mean = x.mean(at::IntArrayRef{0});
    const Tensor deviation = at::std(x, at::IntArrayRef{0}, /*unbiased=*/false);
    // Of a feature that is constant here nothing is learnt: a weight as it was drawn must not meet other values
    // elsewhere.
    const Tensor least = 1e-6 * at::maximum(probe.mean.abs(), deviation.max());  // of rounding
    probe.scale = at::where(deviation > least, 1 / deviation, at::zeros_like(deviation));
  }
  return probe;
}

void TrainProbe(Probe& probe, const Tensor& features, const Tensor& labels, const ProbeConfig& config, Seed seed) {
  ExpectShape(features, {-1, probe.mean.size(0)}, "features");
  ExpectShape(labels, {features.size(0)}, "labels");
  const c10::AutoGradMode no_grad(false);
  const int64_t rows = features.size(0), classes = probe.bias.size(2);
  const int64_t rates = probe.bias.size(0);
  const Tensor rate = at::tensor(config.rates, at::kFloat).repeat_interleave(classes);  // [R*C]
  const auto descent = MakeProbeDescent({.features = features.cpu(),
                                         .mean = probe.mean,
                                         .scale = probe.scale,
                                         .labels = labels.cpu(),
                                         .classes = classes,
                                         .weight = SideBySide(probe.weight),
                                         .bias = SideBySide(probe.bias).flatten(),
                                         .batch = config.batch,
                                         .momentum = config.momentum,
                                         .weight_decay = config.weight_decay},
                                        ReadCpuFeatures().amx_bf16);
  const int64_t batches = (rows + config.batch - 1) / config.batch, steps = batches * config.epochs;
  for (int64_t epoch = 0; epoch < config.epochs; ++epoch) {
    const std::vector<int64_t> order = Permutation(seed.With("order").With(static_cast<uint64_t>(epoch)), rows);
    for (int64_t i = 0; i < batches; ++i) {
      const auto step = static_cast<double>(epoch * batches + i);
      const Tensor step_rate = rate * (0.5 * (1 + std::cos(std::numbers::pi * step / static_cast<double>(steps))));
      const int64_t from = i * config.batch;
      descent->Step(order.data() + from, std::min(config.batch, rows - from), step_rate.const_data_ptr<float>());
    }
  }
  probe.weight = OneByOne(descent->weight(), rates);
  probe.bias = OneByOne(descent->bias().unsqueeze(0), rates);
}

Tensor ProbeScores(const Probe& probe, const Tensor& features) {
  ExpectShape(features, {-1, probe.mean.size(0)}, "features");
  const c10::AutoGradMode no_grad(false);
  const int64_t rates = probe.bias.size(0);
  const Tensor scores = at::addmm(SideBySide(probe.bias), Enter(probe, features), SideBySide(probe.weight));
  return scores.view({features.size(0), rates, -1}).permute({1, 0, 2}).contiguous();
}

}  // namespace genview
