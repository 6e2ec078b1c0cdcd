#include "genview/eval/knn_votes.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "genview/base/error.h"

namespace genview {
namespace {

constexpr int64_t kQueryBlock = 512, kBankBlock = 2048;  // 4 MB of similarities at a time stay in the cache

Tensor UnitLength(const Tensor& x) {
  const Tensor full = x.to(at::kFloat);
  return full / full.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
}

struct Neighbour {
  float similarity;
  int64_t place;
};
bool Nearer(const Neighbour& a, const Neighbour& b) {
  return a.similarity != b.similarity ? a.similarity > b.similarity : a.place < b.place;
}

// The k nearest of a row of numbers that come in pieces; of equal ones the first. Few numbers pass the bar, so a piece costs
// little more than one look at each.
class Nearest {
 public:
  explicit Nearest(int64_t k) : k_(static_cast<size_t>(k)) {}

  void Take(const float* similarities, int64_t count, int64_t first_place) {
    for (int64_t i = 0; i < count; ++i) {
      if (!(similarities[i] > bar_)) continue;  // nor NaN
      kept_.push_back({similarities[i], first_place + i});
      if (kept_.size() == 2 * k_) Prune();
    }
  }
  const std::vector<Neighbour>& Finish() {
    if (kept_.size() > k_) Prune();
    std::sort(kept_.begin(), kept_.end(), Nearer);  // votes are summed in this order
    return kept_;
  }

 private:
  void Prune() {
    const auto last = kept_.begin() + static_cast<std::ptrdiff_t>(k_) - 1;
    std::nth_element(kept_.begin(), last, kept_.end(), Nearer);
    bar_ = last->similarity;
    kept_.resize(k_);
  }

  size_t k_;
  float bar_ = -std::numeric_limits<float>::infinity();
  std::vector<Neighbour> kept_;
};

}  // namespace

std::vector<Tensor> KnnVotes(const Tensor& bank, const Tensor& labels, const Tensor& queries, int64_t classes, const std::vector<int64_t>& ks,
                             double temperature) {
  ExpectShape(bank, {-1, -1}, "bank");
  ExpectShape(labels, {bank.size(0)}, "labels");
  ExpectShape(queries, {-1, bank.size(1)}, "queries");
  GENVIEW_CHECK(!ks.empty(), "no number of neighbours");
  const int64_t most = std::min(*std::max_element(ks.begin(), ks.end()), bank.size(0));
  const Tensor rows = UnitLength(bank), owners = labels.to(at::kCPU).contiguous();
  const int64_t* owner = owners.const_data_ptr<int64_t>();
  std::vector<Tensor> votes;
  for (size_t i = 0; i < ks.size(); ++i) votes.push_back(at::zeros({queries.size(0), classes}, at::kFloat));
  for (int64_t from = 0; from < queries.size(0); from += kQueryBlock) {
    const int64_t count = std::min(kQueryBlock, queries.size(0) - from);
    const Tensor block = UnitLength(queries.narrow(0, from, count));
    std::vector<Nearest> nearest(static_cast<size_t>(count), Nearest(most));
    for (int64_t begin = 0; begin < bank.size(0); begin += kBankBlock) {
      const int64_t length = std::min(kBankBlock, bank.size(0) - begin);
      const Tensor similar = at::matmul(block, rows.narrow(0, begin, length).t()).cpu();  // [count,length]
      const float* values = similar.const_data_ptr<float>();
      at::parallel_for(0, count, 1, [&](int64_t low, int64_t high) {
        for (int64_t i = low; i < high; ++i) nearest[static_cast<size_t>(i)].Take(values + i * length, length, begin);
      });
    }
    for (int64_t i = 0; i < count; ++i) {
      const std::vector<Neighbour>& neighbours = nearest[static_cast<size_t>(i)].Finish();
      for (size_t j = 0; j < ks.size(); ++j) {
        float* row = votes[j].data_ptr<float>() + (from + i) * classes;
        for (size_t n = 0; n < std::min(neighbours.size(), static_cast<size_t>(ks[j])); ++n) {
          row[owner[neighbours[n].place]] += std::exp(neighbours[n].similarity / static_cast<float>(temperature));
        }
      }
    }
  }
  return votes;
}

Tensor KnnVotes(const Tensor& bank, const Tensor& labels, const Tensor& queries, int64_t classes, int64_t k, double temperature) {
  return KnnVotes(bank, labels, queries, classes, std::vector<int64_t>{k}, temperature)[0];
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
