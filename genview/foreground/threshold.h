// Scores of tokens and the threshold above which they count as foreground.
//
//   Tensor scores = TokenScores(tokens, component);                      // [N,T], of the uncentred tokens
//   double threshold = ThresholdByShare(all_scores, 0.4);                // score > threshold: foreground
#pragma once

#include <string>

#include "genview/base/fields.h"
#include "genview/tensor/tensor.h"

namespace genview {

// Projection of the tokens as they are, without subtracting the mean. [N,T,C], [C] -> [N,T] fp32.
Tensor TokenScores(const Tensor& tokens, const Tensor& component);

enum class ThresholdMode {
  kQuantile,   // exactly `share` of the scores lie above
  kHistogram,  // as the original code: the left edge of a bin, so slightly more than `share` lie above
};
template <>
struct EnumNames<ThresholdMode> {
  static constexpr std::pair<ThresholdMode, const char*> kNames[] = {{ThresholdMode::kQuantile, "quantile"},
                                                                     {ThresholdMode::kHistogram, "histogram"}};
};

// scores: fp32, any shape; NaN is an Error. The threshold lies halfway between two scores, so that rounding flips none.
double ThresholdByShare(const Tensor& scores, double share);
// 200 bins of equal width between least and greatest; the first bin at which the running share reaches 1 - share. The
// original keeps its bins in a table keyed by that running share, so of a run of empty bins after it the last one wins.
double ThresholdByHistogram(const Tensor& scores, double share);

}  // namespace genview
