// What the pairs of a run weigh on the mean: those with a generated view, by its noise level, and those without.
// Weights have the mean 1 over a batch, so each number says how much a kind counts beside the others.
//
//   WeightTally tally;
//   tally.Add(weights, LevelsOfPairs(batch, source, *views));       // every batch
//   row["weight_generated"] = tally.generated().Mean();
#pragma once

#include <map>

#include "genview/base/json.h"
#include "genview/data/loader.h"

namespace genview {

struct SummedWeights {
  double sum = 0;
  int64_t pairs = 0;
  double Mean() const { return pairs > 0 ? sum / static_cast<double>(pairs) : 0; }
};

// [N] int64: the noise level of each pair's generated view, -1 for pairs without one. `source`: of the batch's indices.
Tensor LevelsOfPairs(const PairBatch& batch, const ImageSource& source, const GeneratedViews& views);

class WeightTally {
 public:
  void Add(const Tensor& weights, const Tensor& levels);  // [N], [N]

  SummedWeights generated() const;
  const SummedWeights& augmented() const { return augmented_; }
  const std::map<int64_t, SummedWeights>& by_level() const { return by_level_; }

  // {"augmented": {"pairs", "mean", "sum"}, "generated": {...}, "levels": {"100": {...}}}; kinds without pairs are left
  // out.
  Json ToJson() const;
  static WeightTally FromJson(const Json& json, std::string_view where);  // what ToJson gave; anything else is empty

 private:
  SummedWeights augmented_;
  std::map<int64_t, SummedWeights> by_level_;
};

}  // namespace genview
