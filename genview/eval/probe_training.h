// The classifiers of a probe, trained on batches that are given one by one, each at its own rate, by any optimiser of
// train/. Slower than ProbeDescent, which is plain SGD on rows that are all there.
//
//   ProbeTraining training(probe, config);
//   training.Step(features, labels, /*factor=*/1);
//   probe = training.Trained();
//
// No classifier knows of the others: each ends with the bytes that it would have alone.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "genview/eval/probe.h"
#include "genview/models/weight_list.h"
#include "genview/train/optimizer.h"

namespace genview {

class ProbeTraining {
 public:
  ProbeTraining(const Probe& start, const ProbeConfig& config, at::Device device = at::kCPU);
  ProbeTraining(const ProbeTraining&) = delete;
  ProbeTraining& operator=(const ProbeTraining&) = delete;

  // features [N,D], labels [N] int64. `factor`: times each rate. Returns each classifier's mean cross-entropy before
  // the step, [R].
  Tensor Step(const Tensor& features, const Tensor& labels, double factor);
  Probe Trained() const;  // on the CPU

  // Everything that going on needs, on the CPU.
  std::vector<std::pair<std::string, Tensor>> State() const;
  void LoadState(WeightReader& reader);

 private:
  struct Head {
    Tensor weight, bias;  // [D,C]; [C], or [1,C] where the optimiser is to take it for a matrix
  };
  const Tensor mean_, scale_;
  std::vector<Head> heads_;
  WeightList list_;  // of heads_, which keep their places
  std::unique_ptr<Optimizer> optimizer_;
};

}  // namespace genview
