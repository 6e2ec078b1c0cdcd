#include "genview/eval/knn_votes.h"

#include <algorithm>

namespace genview {
namespace {

constexpr int64_t kQueryBlock = 256, kBankBlock = 32768;  // 32 MB of similarities at a time

Tensor UnitLength(const Tensor& x) {
  const Tensor full = x.to(at::kFloat);
  return full / full.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
}

}  // namespace

Tensor KnnVotes(const Tensor& bank, const Tensor& labels, const Tensor& queries, int64_t classes, int64_t k, double temperature) {
  ExpectShape(bank, {-1, -1}, "bank");
  ExpectShape(labels, {bank.size(0)}, "labels");
  ExpectShape(queries, {-1, bank.size(1)}, "queries");
  k = std::min(k, bank.size(0));
  const Tensor rows = UnitLength(bank), votes = at::zeros({queries.size(0), classes}, rows.options());
  for (int64_t from = 0; from < queries.size(0); from += kQueryBlock) {
    const int64_t count = std::min(kQueryBlock, queries.size(0) - from);
    const Tensor block = UnitLength(queries.narrow(0, from, count));
    Tensor nearest, owners;  // [count, <= k] of the bank's rows so far
    for (int64_t begin = 0; begin < bank.size(0); begin += kBankBlock) {
      const int64_t length = std::min(kBankBlock, bank.size(0) - begin);
      auto [similar, places] = at::topk(at::matmul(block, rows.narrow(0, begin, length).t()), std::min(k, length), 1);
      Tensor classes_of = labels.narrow(0, begin, length).index_select(0, places.flatten()).view_as(places);
      if (nearest.defined()) {
        const Tensor all = at::cat({nearest, similar}, 1), all_owners = at::cat({owners, classes_of}, 1);
        std::tie(similar, places) = at::topk(all, std::min(k, all.size(1)), 1);
        classes_of = all_owners.gather(1, places);
      }
      nearest = similar;
      owners = classes_of;
    }
    votes.narrow(0, from, count).scatter_add_(1, owners, (nearest / temperature).exp());
  }
  return votes;
}

Hits CountHits(const Tensor& scores, const Tensor& labels, bool positive_only) {
  ExpectShape(scores, {labels.size(0), -1}, "scores");
  const Tensor own = scores.gather(1, labels.unsqueeze(1));  // [N,1]
  const Tensor classes = at::arange(scores.size(1), labels.options()).unsqueeze(0);
  // The number of classes before the true one, [N].
  const Tensor rank = ((scores > own) | ((scores == own) & (classes < labels.unsqueeze(1)))).sum(1);
  Tensor counted = own.squeeze(1) == own.squeeze(1);  // a NaN never counts
  if (positive_only) counted = own.squeeze(1) > 0;
  return {.top1 = ((rank == 0) & counted).sum().item<int64_t>(),
          .top5 = ((rank < 5) & counted).sum().item<int64_t>(),
          .total = labels.size(0)};
}

}  // namespace genview
