// One pretraining run's weights and optimiser, and its single step.
//
//   Trainer trainer(config, steps_per_epoch, device, compute);     // config resolved
//   for each part of the batch: trainer.Accumulate(view1, view2, weights);
//   StepReport report = trainer.Step();
//   SaveCheckpoint(..., trainer.State(), ...);
//
// Several processes share the parts: of W the process r computes parts r, r + W, r + 2W, ... At the end of a step all
// have the same weights, those of one process to the bit, since everything that parts leave is put together in the
// order of the parts.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "genview/dist/tensor_group.h"
#include "genview/pretrain/config.h"
#include "genview/tensor/kept_memory.h"
#include "genview/train/optimizer.h"
#include "genview/train/running_statistics.h"

namespace genview {

// Numbers of the caller's own about a part, which are added up over all parts of a step. Small whole numbers.
using Tally = std::array<int64_t, 4>;

struct StepReport {
  Tensor loss;        // [] fp32: mean over the batch, weights included; detached, on the device
  Tensor weight_std;  // [] of the pair weights; undefined without any
  double lr = 0;
  Tally tally{};
  Tensor weights, marks;  // [B] of all pairs, in the order of the parts; undefined where parts had none
};

class Trainer {
 public:
  // `together`, which must outlive the trainer: of at most `config.accumulate` processes.
  Trainer(const PretrainConfig& config, int64_t steps_per_epoch, at::Device device, at::ScalarType compute,
          TensorGroup& together = AloneWithTensors());

  // Forward and backward of this process's next one of `config.accumulate` equal parts. weights: [N] with mean 1, or
  // undefined. marks: [N] of the caller's own about each pair, small whole numbers, or undefined. Where keys are
  // shuffled (ShufflesKeys) nothing is computed before the last of them is there, so tensors must stay as they are
  // until Step.
  void Accumulate(const Tensor& view1, const Tensor& view2, const Tensor& weights, const std::vector<Tensor>& more = {},
                  const Tally& tally = {}, const Tensor& marks = {});
  StepReport Step();  // optimiser, then the method's own update

  int64_t steps() const { return steps_; }  // done so far
  int64_t total_steps() const { return schedule_.total_steps; }
  Method& method() { return *method_; }
  // Of the latest step's pairs, in the order of the parts; of several parts with many pairs the first few of each.
  const Tensor& projections() const { return projections_; }
  // The same in all processes, or they have drifted apart.
  uint64_t WeightSum();
  // Whether State holds no NaN and no infinity: what does could not be loaded again.
  bool Finite();

  // Everything a resume needs: `encoder.*`, `projector.*`, ..., `optimizer.*`.
  std::vector<std::pair<std::string, Tensor>> State();
  void Load(WeightReader& reader, int64_t steps);

 private:
  // What a part leaves besides its gradients.
  struct Part {
    Tensor loss;         // [], its share of the step's
    Tensor weights;      // [N], or undefined
    Tensor marks;        // [N], or undefined
    Tensor statistics;   // of the norms: RunningStatistics; undefined in a step of one part
    Tensor left;         // Method::left, or undefined
    Tensor projections;  // [n,D]
    Tally tally{};

    Tensor Pack() const;                      // [L] fp32 on the CPU
    Part Unpack(const Tensor& packed) const;  // the other way round, for a part like this one
  };

  // What Accumulate is given.
  struct Given {
    Tensor view1, view2, weights;
    std::vector<Tensor> more;
    Tally tally;
    Tensor marks;
  };

  void Prepare();  // moves, lays out, makes the optimiser
  Tensor Enter(const Tensor& view) const;
  void MakeKeys();
  void ComputePart(const Given& given);
  void ShareGradients(bool has_part);
  void TakeGradients();
  std::vector<Part> AllParts();

  const KeptMemory kept_;
  PretrainConfig config_;
  Schedule schedule_;
  at::Device device_;
  at::ScalarType compute_;
  TensorGroup& together_;
  std::unique_ptr<Method> method_;
  std::unique_ptr<Optimizer> optimizer_;
  std::optional<RunningStatistics> statistics_;  // in steps of several parts
  int64_t steps_ = 0;
  std::vector<Part> parts_;  // of this step and process, so far
  // Where keys are shuffled, of this step and process:
  std::vector<Given> waiting_;          // parts, until all are there
  std::vector<Tensor> keys_;            // of each view that has keys, [B,D], in the order of the pairs
  std::vector<Tensor> key_statistics_;  // of the norms: what the keys left that were made in each part's place
  Tensor projections_;
  int64_t rounds_ = 0;  // of parts whose gradients have been shared in this step
  std::vector<Tensor> with_gradient_;
  Tensor slice_;  // this process's slice of all gradients in a row, summed over the parts
};

}  // namespace genview
