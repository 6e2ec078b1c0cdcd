// How good a pair of views is: alike in the foreground, different in the background (paper section 3.3).
//
//   Tensor weights = PairQuality(tokens1, tokens2, model.component, /*gamma=*/1.0);   // [N], mean 1
//   Tensor loss = (weights * method->PairLoss(view1, view2)).mean();
//
// All of it is computed in fp32, whatever the caller's autocast, and no gradient flows through it.
#pragma once

#include "genview/tensor/tensor.h"

namespace genview {

// Soft foreground of each picture: its projections on the component, stretched to [0, 1] by their own least and
// greatest. features: [N,C,H,W], component: [C] -> [N,H,W]. A picture of equal features gives 0 everywhere.
Tensor ForegroundMap(const Tensor& features, const Tensor& component);

// The same of tokens [N,T,C], in their own precision and with gradients -> [N,T]. seen: [N,T], the tokens that stretch
// the map, undefined for all; the others may lie outside [0, 1].
Tensor SoftForeground(const Tensor& tokens, const Tensor& component, const Tensor& seen = {});

struct PairSimilarity {
  Tensor foreground;  // [N] cosine of the two pictures' foreground features, S^f
  Tensor background;  // [N] of their background features, S^b
};
// tokens: [N,T,C] each, not normalised; component: [C].
PairSimilarity ComparePairs(const Tensor& tokens1, const Tensor& tokens2, const Tensor& component);

// The same of crops of pictures whose whole maps are known. cover: [N,T], the share of each token's cell that the crop
// shows; a token counts by it, and those of cells that are not shown do not count at all. With 1 everywhere:
// ComparePairs.
PairSimilarity CompareCrops(const Tensor& tokens1, const Tensor& cover1, const Tensor& tokens2, const Tensor& cover2,
                            const Tensor& component);
// boxes: [N,4], left, top, right, bottom as shares of the picture -> [N,grid*grid], row-major.
Tensor CellCover(const Tensor& boxes, int64_t grid);

// w_i = N exp(gamma q_i) / sum_k exp(gamma q_k) with q = S^f - S^b. [N], mean 1. Pairs with a q below `floor` weigh 0,
// and the others share the N among themselves; when none is left, all weigh 0. q is in [-2, 2].
inline constexpr double kNoFloor = -2;
Tensor QualityWeights(const PairSimilarity& similarity, double gamma, double floor = kNoFloor);

// The same among the pairs of a kind alone: each of the two kinds keeps the mean weight 1, so that pairs of one are
// chosen among and never held against those of the other. kind: [N] bool.
Tensor QualityWeightsByKind(const PairSimilarity& similarity, const Tensor& kind, double gamma,
                            double floor = kNoFloor);

Tensor PairQuality(const Tensor& tokens1, const Tensor& tokens2, const Tensor& component, double gamma,
                   double floor = kNoFloor);

}  // namespace genview
