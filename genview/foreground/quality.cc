#include "genview/foreground/quality.h"

#include <cmath>

#include <c10/core/GradMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

namespace genview {
namespace {

constexpr double kEps = 1e-7;  // as in the paper's code

// No gradients and no autocast while alive.
struct PlainFp32 {
  const c10::AutoGradMode no_grad{false};
  const c10::impl::ExcludeDispatchKeyGuard no_autocast{c10::autocast_dispatch_keyset};
};

// Mean of the tokens by a map, z = sum_j m_j T_j / (sum_j m_j + eps). [N,C]
Tensor WeightedMean(const Tensor& map, const Tensor& tokens) {
  const Tensor share = map / (map.sum(1, /*keepdim=*/true) + kEps);  // [N,T]
  return at::bmm(share.unsqueeze(1), tokens).squeeze(1);
}

}  // namespace

Tensor SoftForeground(const Tensor& tokens, const Tensor& component, const Tensor& seen) {
  const Tensor s = at::matmul(tokens, component);  // [N,T]
  const Tensor low = (seen.defined() ? s.masked_fill(seen.logical_not(), INFINITY) : s).amin(1, /*keepdim=*/true);
  const Tensor high = (seen.defined() ? s.masked_fill(seen.logical_not(), -INFINITY) : s).amax(1, /*keepdim=*/true);
  return (s - low) / (high - low + kEps);
}

Tensor ForegroundMap(const Tensor& features, const Tensor& component) {
  ExpectShape(features, {-1, component.size(0), -1, -1}, "features");
  const PlainFp32 guard;
  const Tensor tokens = features.flatten(2).transpose(1, 2).to(at::kFloat);  // [N,HW,C]
  const Tensor v = component.to(tokens.device(), at::kFloat);
  return SoftForeground(tokens, v).view({features.size(0), features.size(2), features.size(3)});
}

Tensor CellCover(const Tensor& boxes, int64_t grid) {
  ExpectShape(boxes, {-1, 4}, "boxes");
  const PlainFp32 guard;
  const Tensor cells = at::arange(grid, boxes.options().dtype(at::kFloat)).unsqueeze(0);  // [1,G]
  const auto along = [&](int64_t low, int64_t high) {                                     // [N,G]
    const Tensor begin = boxes.select(1, low).unsqueeze(1) * grid, end = boxes.select(1, high).unsqueeze(1) * grid;
    return (at::minimum(end, cells + 1) - at::maximum(begin, cells)).clamp_min(0);
  };
  return at::bmm(along(1, 3).unsqueeze(2), along(0, 2).unsqueeze(1)).flatten(1);
}

PairSimilarity CompareCrops(const Tensor& tokens1, const Tensor& cover1, const Tensor& tokens2, const Tensor& cover2,
                            const Tensor& component) {
  ExpectShape(tokens1, {-1, -1, component.size(0)}, "tokens1");
  ExpectShape(tokens2, {tokens1.size(0), tokens1.size(1), component.size(0)}, "tokens2");
  ExpectShape(cover1, {tokens1.size(0), tokens1.size(1)}, "cover1");
  ExpectShape(cover2, {tokens1.size(0), tokens1.size(1)}, "cover2");
  const PlainFp32 guard;
  const auto pooled = [&](const Tensor& tokens, const Tensor& cover) {
    const Tensor t = tokens.to(at::kFloat), seen = cover > 0;
    const Tensor f = SoftForeground(t, component.to(tokens.device(), at::kFloat), seen);
    return std::pair(WeightedMean(f * cover, t), WeightedMean((1 - f) * cover, t));
  };
  const auto [fg1, bg1] = pooled(tokens1, cover1);
  const auto [fg2, bg2] = pooled(tokens2, cover2);
  return {.foreground = at::cosine_similarity(fg1, fg2, 1), .background = at::cosine_similarity(bg1, bg2, 1)};
}

PairSimilarity ComparePairs(const Tensor& tokens1, const Tensor& tokens2, const Tensor& component) {
  ExpectShape(tokens1, {-1, -1, component.size(0)}, "tokens1");
  ExpectShape(tokens2, {tokens1.size(0), tokens1.size(1), component.size(0)}, "tokens2");
  const PlainFp32 guard;
  const Tensor v = component.to(tokens1.device(), at::kFloat);
  const Tensor t1 = tokens1.to(at::kFloat), t2 = tokens2.to(at::kFloat);
  const Tensor f1 = SoftForeground(t1, v), f2 = SoftForeground(t2, v);
  return {.foreground = at::cosine_similarity(WeightedMean(f1, t1), WeightedMean(f2, t2), 1),
          .background = at::cosine_similarity(WeightedMean(1 - f1, t1), WeightedMean(1 - f2, t2), 1)};
}

Tensor QualityWeights(const PairSimilarity& similarity, double gamma, double floor) {
  const PlainFp32 guard;
  const Tensor q = similarity.foreground - similarity.background;
  const auto pairs = static_cast<double>(q.size(0));
  if (floor <= kNoFloor) return at::softmax(gamma * q, 0) * pairs;
  // Where all are below the floor a softmax of -inf alone is not a number: 0 is what is meant.
  const Tensor below = q < floor;
  return at::softmax((gamma * q).masked_fill(below, -INFINITY), 0).masked_fill(below, 0) * pairs;
}

Tensor QualityWeightsByKind(const PairSimilarity& similarity, const Tensor& kind, double gamma, double floor) {
  ExpectShape(kind, {similarity.foreground.size(0)}, "kind");
  const PlainFp32 guard;
  Tensor weights = at::zeros_like(similarity.foreground);
  for (const Tensor& of_kind : {kind, kind.logical_not()}) {
    const Tensor rows = of_kind.nonzero().squeeze(1);
    if (rows.size(0) == 0) continue;
    const PairSimilarity own{similarity.foreground.index_select(0, rows), similarity.background.index_select(0, rows)};
    weights.index_copy_(0, rows, QualityWeights(own, gamma, floor));
  }
  return weights;
}

Tensor PairQuality(const Tensor& tokens1, const Tensor& tokens2, const Tensor& component, double gamma, double floor) {
  return QualityWeights(ComparePairs(tokens1, tokens2, component), gamma, floor);
}

}  // namespace genview
