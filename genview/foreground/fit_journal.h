// What a fit has come to, kept beside its model while it works, so that a killed one goes on:
//
//   FitJournal journal(out, request, /*seconds=*/60);
//   journal.Read(state, skipped, sample_size, device);          // state stays as it is where there is none
//   while (...) journal.SaveSometimes(state, skipped);
//   journal.Remove();                                           // the model is there
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "genview/base/files.h"
#include "genview/foreground/token_statistics.h"
#include "genview/records/records.h"

namespace genview {

// Pictures are counted from the first of the sample, bad ones too, in whole batches.
struct FitState {
  TokenStatistics statistics;
  int64_t summed = 0;          // pictures that the statistics are of
  std::vector<Tensor> scores;  // [N,T] fp32 each
  int64_t scored = 0;          // pictures whose tokens have scores

  Tensor Scores() const;  // [N,T], of all
};

class FitJournal {
 public:
  // `request`: what a state depends on, the batch included, since sums of other batches are rounded otherwise.
  FitJournal(const Path& model, std::string request, double seconds);
  static Path Place(const Path& model);

  // A journal of another request, or a damaged one, is as good as none.
  void Read(FitState& state, SkippedLog& skipped, int64_t sample, at::Device device) const;
  void Save(const FitState& state, const SkippedLog& skipped);
  void SaveSometimes(const FitState& state, const SkippedLog& skipped);  // after `seconds`, and longer for large states
  void Remove() const;

 private:
  using Clock = std::chrono::steady_clock;

  Path path_;
  std::string request_;
  std::chrono::duration<double> least_, between_;  // from one saving to the next: as asked for, and now
  Clock::time_point saved_ = Clock::now();
};

}  // namespace genview
