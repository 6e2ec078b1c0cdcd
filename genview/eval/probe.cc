#include "genview/eval/probe.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <c10/core/GradMode.h>

namespace genview {

static Tensor Enter(const Probe& probe, const Tensor& features) {
  return (features.to(at::kFloat) - probe.mean) * probe.scale;
}

// All classifiers side by side, [R,D,C] <-> [D,R*C]: one product of the features with all of them, not one with each.
static Tensor SideBySide(const Tensor& weight) { return weight.permute({1, 0, 2}).reshape({weight.size(1), weight.size(0) * weight.size(2)}); }
static Tensor OneByOne(const Tensor& weight, int64_t rates) { return weight.view({weight.size(0), rates, -1}).permute({1, 0, 2}).contiguous(); }

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
    probe.scale = 1 / at::std(x, at::IntArrayRef{0}, /*unbiased=*/false).clamp_min(1e-6);
  }
  return probe;
}

void TrainProbe(Probe& probe, const Tensor& features, const Tensor& labels, const ProbeConfig& config, Seed seed) {
  ExpectShape(features, {-1, probe.mean.size(0)}, "features");
  ExpectShape(labels, {features.size(0)}, "labels");
  const c10::AutoGradMode no_grad(false);
  const int64_t rows = features.size(0), classes = probe.bias.size(2);
  const Tensor inputs = Enter(probe, features);
  const int64_t rates = probe.bias.size(0);
  const Tensor rate = at::tensor(config.rates, at::kFloat).repeat_interleave(classes);  // [R*C]
  Tensor weight = SideBySide(probe.weight), bias = SideBySide(probe.bias);              // [D,R*C], [1,R*C]
  Tensor weight_velocity = at::zeros_like(weight), bias_velocity = at::zeros_like(bias);
  const int64_t batches = (rows + config.batch - 1) / config.batch, steps = batches * config.epochs;
  for (int64_t epoch = 0; epoch < config.epochs; ++epoch) {
    const Tensor order = at::tensor(Permutation(seed.With("order").With(static_cast<uint64_t>(epoch)), rows), at::kLong);
    for (int64_t i = 0; i < batches; ++i) {
      const int64_t from = i * config.batch, count = std::min(config.batch, rows - from);
      const Tensor places = order.narrow(0, from, count);
      const Tensor batch = inputs.index_select(0, places);
      // d(mean cross-entropy)/d(scores) = (softmax - one-hot) / count.
      Tensor slope = at::addmm(bias, batch, weight).view({count, rates, classes}).softmax(2);
      slope.sub_(at::one_hot(labels.index_select(0, places), classes).to(at::kFloat).unsqueeze(1)).div_(static_cast<double>(count));
      slope = slope.view({count, rates * classes});
      const auto step = static_cast<double>(epoch * batches + i);
      const Tensor step_rate = rate * (0.5 * (1 + std::cos(std::numbers::pi * step / static_cast<double>(steps))));
      const auto descend = [&](Tensor& values, Tensor& velocity, const Tensor& gradient) {
        velocity.mul_(config.momentum).add_(gradient);
        if (config.weight_decay != 0) velocity.add_(values, config.weight_decay);
        values.addcmul_(velocity, step_rate, -1);
      };
      descend(weight, weight_velocity, at::mm(batch.t(), slope));
      descend(bias, bias_velocity, slope.sum(0, /*keepdim=*/true));
    }
  }
  probe.weight = OneByOne(weight, rates);
  probe.bias = OneByOne(bias, rates);
}

Tensor ProbeScores(const Probe& probe, const Tensor& features) {
  ExpectShape(features, {-1, probe.mean.size(0)}, "features");
  const c10::AutoGradMode no_grad(false);
  const int64_t rates = probe.bias.size(0);
  const Tensor scores = at::addmm(SideBySide(probe.bias), Enter(probe, features), SideBySide(probe.weight));
  return scores.view({features.size(0), rates, -1}).permute({1, 0, 2}).contiguous();
}

}  // namespace genview
