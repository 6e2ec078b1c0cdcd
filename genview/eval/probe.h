// Linear classifiers on frozen features, several learning rates at once: their weights are one tensor [R,D,C], so that
// a step of all is one batched matrix product.
//
//   Probe probe = MakeProbe(features, classes, config, seed);      // config.rates = {0.01, 0.1}
//   TrainProbe(probe, features, labels, config, seed);
//   Tensor scores = ProbeScores(probe, test_features);       // [R,N,C]
#pragma once

#include <vector>

#include "genview/tensor/tensor.h"

namespace genview {

struct ProbeConfig {
  std::vector<double> rates = {0.1};  // learning rates, one classifier each
  int64_t epochs = 100, batch = 256;
  double momentum = 0.9, weight_decay = 0;
  bool standardise = true;  // features to mean 0 and deviation 1 over the training rows
};

struct Probe {
  Tensor weight;  // [R,D,C]
  Tensor bias;    // [R,1,C]
  // [D]: features enter as (x - mean) * scale; standardised, those that are constant over the rows as 0.
  Tensor mean, scale;
};

// Weights N(0, 0.01) from the seed, the same for all rates; biases 0. mean and scale by the rows of `features` [M,D].
Probe MakeProbe(const Tensor& features, int64_t classes, const ProbeConfig& config, Seed seed);

// SGD on cross-entropy, the rate falling along a half cosine step by step, the order of the rows by (seed, epoch), the
// last partial batch included. features [M,D], labels [M] int64.
void TrainProbe(Probe& probe, const Tensor& features, const Tensor& labels, const ProbeConfig& config, Seed seed);

Tensor ProbeScores(const Probe& probe, const Tensor& features);  // [N,D] -> [R,N,C]

}  // namespace genview
