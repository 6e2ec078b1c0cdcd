#include "genview/eval/probe.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <c10/core/GradMode.h>

namespace genview {

static Tensor Enter(const Probe& probe, const Tensor& features) {
  return (features.to(at::kFloat) - probe.mean) * probe.scale;
}

static Tensor Scores(const Probe& probe, const Tensor& x) {
  return at::matmul(x.unsqueeze(0), probe.weight) + probe.bias;  // [1,N,D] x [R,D,C] -> [R,N,C]
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
  const Tensor rate = at::tensor(config.rates, at::kFloat).view({-1, 1, 1});
  Tensor weight_velocity = at::zeros_like(probe.weight), bias_velocity = at::zeros_like(probe.bias);
  const int64_t batches = (rows + config.batch - 1) / config.batch, steps = batches * config.epochs;
  for (int64_t epoch = 0; epoch < config.epochs; ++epoch) {
    const Tensor order = at::tensor(Permutation(seed.With("order").With(static_cast<uint64_t>(epoch)), rows), at::kLong);
    for (int64_t i = 0; i < batches; ++i) {
      const int64_t from = i * config.batch, count = std::min(config.batch, rows - from);
      const Tensor places = order.narrow(0, from, count);
      const Tensor batch = inputs.index_select(0, places);
      // d(mean cross-entropy)/d(scores) = (softmax - one-hot) / count.
      Tensor slope = Scores(probe, batch).softmax(2);  // [R,count,C]
      slope.sub_(at::one_hot(labels.index_select(0, places), classes).to(at::kFloat)).div_(static_cast<double>(count));
      const auto step = static_cast<double>(epoch * batches + i);
      const double fall = 0.5 * (1 + std::cos(std::numbers::pi * step / static_cast<double>(steps)));
      const auto descend = [&](Tensor& weight, Tensor& velocity, const Tensor& gradient) {
        velocity.mul_(config.momentum).add_(gradient).add_(weight, config.weight_decay);
        weight.sub_(velocity * (rate * fall));
      };
      descend(probe.weight, weight_velocity, at::matmul(batch.t().unsqueeze(0), slope));  // [R,D,C]
      descend(probe.bias, bias_velocity, slope.sum(1, /*keepdim=*/true));
    }
  }
}

Tensor ProbeScores(const Probe& probe, const Tensor& features) {
  ExpectShape(features, {-1, probe.mean.size(0)}, "features");
  const c10::AutoGradMode no_grad(false);
  return Scores(probe, Enter(probe, features));
}

}  // namespace genview
