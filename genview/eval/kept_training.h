// The state of a training for a score, in a folder beside the result: the same call, stopped or killed, goes on from
// there.
//
//   KeptTraining kept(evaluation.StateFolder(), evaluation.request());
//   if (const auto state = kept.Latest(strict, skipped)) { WeightReader reader(state->weights); ... }
//   if (progress.Stopped() || kept.Due()) kept.Save(step, tensors, {{"loss", loss}}, skipped);
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "genview/records/records.h"
#include "genview/train/checkpoint.h"

namespace genview {

class KeptTraining {
 public:
  // folder: empty: nothing is kept. request: all that the result depends on. seconds: at least, between two states.
  KeptTraining(Path folder, std::string request, double seconds = 300);

  // The latest state of the same request, with the pictures that could not be read up to there added to `skipped`.
  // Under `strict` none that has left pictures out: they are read again, and the first bad one ends it.
  std::optional<Checkpoint> Latest(bool strict, SkippedLog& skipped) const;

  bool Due() const;
  // `meta`: what Latest is to give back beside the tensors and the step.
  void Save(int64_t step, std::vector<std::pair<std::string, Tensor>> tensors, Json meta, const SkippedLog& skipped);

 private:
  using Clock = std::chrono::steady_clock;

  const Path folder_;
  const std::string request_;
  const double seconds_;
  Clock::time_point saved_ = Clock::now();
};

}  // namespace genview
