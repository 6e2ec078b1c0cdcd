// One pretraining run's weights and optimiser, and its single step.
//
//   Trainer trainer(config, steps_per_epoch, device, compute);     // config resolved
//   for each part of the batch: trainer.Accumulate(view1, view2, weights);
//   StepReport report = trainer.Step();
//   SaveCheckpoint(..., trainer.State(), ...);
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "genview/pretrain/config.h"
#include "genview/train/optimizer.h"

namespace genview {

struct StepReport {
  Tensor loss;             // [] fp32: mean over the batch, weights included; detached, on the device
  Tensor weight_std;       // [] of the pair weights; undefined without any
  double lr = 0;
};

class Trainer {
 public:
  Trainer(const PretrainConfig& config, int64_t steps_per_epoch, at::Device device, at::ScalarType compute);

  // Forward and backward of one of `config.accumulate` equal parts. weights: [N] with mean 1, or undefined.
  void Accumulate(const Tensor& view1, const Tensor& view2, const Tensor& weights, const std::vector<Tensor>& local = {});
  StepReport Step();  // optimiser, then the method's own update

  int64_t steps() const { return steps_; }  // done so far
  int64_t total_steps() const { return schedule_.total_steps; }
  Method& method() { return *method_; }

  // Everything a resume needs: `encoder.*`, `projector.*`, ..., `optimizer.*`.
  std::vector<std::pair<std::string, Tensor>> State();
  void Load(WeightReader& reader, int64_t steps);

 private:
  void Prepare();  // moves, lays out, makes the optimiser

  PretrainConfig config_;
  Schedule schedule_;
  at::Device device_;
  at::ScalarType compute_;
  std::unique_ptr<Method> method_;
  std::unique_ptr<Optimizer> optimizer_;
  int64_t steps_ = 0;
  uint64_t parts_ = 0;            // of this step, so far
  Tensor loss_;                   // their sum
  std::vector<Tensor> weights_;   // of the parts so far
};

}  // namespace genview
