// Linear classifiers on frozen features, several learning rates at once: their weights are one tensor [R,D,C], so that
// a step of all is one batched matrix product.
//
//   Probe probe = MakeProbe(features, classes, config, seed);      // config.rates = {0.01, 0.1}
//   TrainProbe(probe, features, labels, config, seed, progress);
//   Tensor scores = ProbeScores(probe, test_features);       // [R,N,C]
#pragma once

#include <vector>

#include "genview/base/fields.h"
#include "genview/base/progress.h"
#include "genview/tensor/tensor.h"
#include "genview/train/schedule.h"

namespace genview {

// The kinds of LARS are those of train/lars.h.
enum class ProbeOptimizer { kSgd, kLars, kLarsMmpretrain, kLarsSimclr, kLarsSolo, kLarc };

template <>
struct EnumNames<ProbeOptimizer> {
  static constexpr std::pair<ProbeOptimizer, const char*> kNames[] = {
      {ProbeOptimizer::kSgd, "sgd"},
      {ProbeOptimizer::kLars, "lars"},
      {ProbeOptimizer::kLarsMmpretrain, "lars-mmpretrain"},
      {ProbeOptimizer::kLarsSimclr, "lars-simclr"},
      {ProbeOptimizer::kLarsSolo, "lars-solo"},
      {ProbeOptimizer::kLarc, "larc"}};
};

struct ProbeConfig {
  std::vector<double> rates = {0.1};  // learning rates, one classifier each
  int64_t epochs = 100, batch = 256;
  double momentum = 0.9, weight_decay = 0;
  bool standardise = true;  // features to mean 0 and deviation 1 over the training rows
  ProbeOptimizer optimizer = ProbeOptimizer::kSgd;
  bool nesterov = false;  // of SGD
  ScheduleKind schedule = ScheduleKind::kCosine;
  bool per_epoch = false;  // the rates change at each epoch, not at each step
  double init = 0.01;      // deviation of the first weights
};

struct Probe {
  Tensor weight;  // [R,D,C]
  Tensor bias;    // [R,1,C]
  // [D]: features enter as (x - mean) * scale; standardised, those that are constant over the rows as 0.
  Tensor mean, scale;
};

// Weights N(0, init) from the seed, the same for all rates; biases 0. mean and scale by the rows of `features` [M,D],
// which may be none where they are not standardised.
Probe MakeProbe(const Tensor& features, int64_t classes, const ProbeConfig& config, Seed seed);

// Factor on the rates at a step: along a half cosine to 0, or a tenth from 60% and a hundredth from 80% of the steps
// on.
double ProbeFactor(const ProbeConfig& config, int64_t step, int64_t steps_per_epoch);

// On cross-entropy, the order of the rows by (seed, epoch), the last partial batch included. features [M,D], labels [M]
// int64. Throws Interrupted between two steps once it is to stop.
void TrainProbe(Probe& probe, const Tensor& features, const Tensor& labels, const ProbeConfig& config, Seed seed,
                Progress& progress);

Tensor ProbeScores(const Probe& probe, const Tensor& features);  // [N,D] -> [R,N,C]

}  // namespace genview
