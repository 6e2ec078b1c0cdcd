#include "genview/eval/probe.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include <c10/core/GradMode.h>

#include "genview/eval/probe_descent.h"
#include "genview/eval/probe_training.h"
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
  const Tensor start = NormalTensor(seed.With("weight"), {width, classes}) * config.init;
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

double ProbeFactor(const ProbeConfig& config, int64_t step, int64_t steps_per_epoch) {
  const int64_t steps = steps_per_epoch * config.epochs;
  const int64_t held = config.per_epoch ? step - step % steps_per_epoch : step;
  switch (config.schedule) {
    case ScheduleKind::kConstant:
      return 1;
    case ScheduleKind::kCosine:
      return 0.5 * (1 + std::cos(std::numbers::pi * static_cast<double>(held) / static_cast<double>(steps)));
    case ScheduleKind::kStep:
      return (held >= steps * 6 / 10 ? 0.1 : 1.0) * (held >= steps * 8 / 10 ? 0.1 : 1.0);
  }
  return 1;
}

// The rows of each step, and the factor on its rates.
using VisitStep = std::function<void(const int64_t* places, int64_t count, double factor)>;
static void ForEachStep(const ProbeConfig& config, int64_t rows, Seed seed, Progress& progress,
                        const VisitStep& visit) {
  const int64_t batches = (rows + config.batch - 1) / config.batch;
  progress.Begin("linear classifiers", batches * config.epochs, "steps");
  for (int64_t epoch = 0; epoch < config.epochs; ++epoch) {
    const std::vector<int64_t> order = Permutation(seed.With("order").With(static_cast<uint64_t>(epoch)), rows);
    for (int64_t i = 0; i < batches; ++i) {
      progress.ThrowIfStopped();
      const int64_t from = i * config.batch, step = epoch * batches + i;
      visit(order.data() + from, std::min(config.batch, rows - from), ProbeFactor(config, step, batches));
      progress.Update(step + 1);
    }
  }
  progress.End();
}

void TrainProbe(Probe& probe, const Tensor& features, const Tensor& labels, const ProbeConfig& config, Seed seed,
                Progress& progress) {
  ExpectShape(features, {-1, probe.mean.size(0)}, "features");
  ExpectShape(labels, {features.size(0)}, "labels");
  const int64_t rows = features.size(0), classes = probe.bias.size(2);
  if (config.optimizer != ProbeOptimizer::kSgd || config.nesterov) {
    ProbeTraining training(probe, config);
    ForEachStep(config, rows, seed, progress, [&](const int64_t* places, int64_t count, double factor) {
      const Tensor own = at::tensor(std::vector<int64_t>(places, places + count), at::kLong);
      training.Step(features.index_select(0, own), labels.index_select(0, own), factor);
    });
    probe = training.Trained();
    return;
  }
  const c10::AutoGradMode no_grad(false);
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
  ForEachStep(config, rows, seed, progress, [&](const int64_t* places, int64_t count, double factor) {
    const Tensor step_rate = rate * factor;
    descent->Step(places, count, step_rate.const_data_ptr<float>());
  });
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
