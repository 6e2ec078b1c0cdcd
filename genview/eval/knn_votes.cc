#include "genview/eval/knn_votes.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "genview/base/error.h"
#include "genview/eval/nearest.h"
#include "genview/tensor/device.h"

namespace genview {
namespace {

constexpr int64_t kQueryBlock = 8192;  // neighbours of so many are kept at a time

constexpr float kNoVote = -std::numeric_limits<float>::infinity();

// log(exp(a) + exp(b)), b a number.
float LogOfSum(float a, float b) {
  const float larger = std::max(a, b);
  return larger + std::log1p(std::exp(std::min(a, b) - larger));
}

}  // namespace

std::vector<Tensor> KnnVotes(const Tensor& bank, const Tensor& labels, const Tensor& queries, int64_t classes,
                             const std::vector<int64_t>& ks, double temperature) {
  ExpectShape(bank, {-1, -1}, "bank");
  ExpectShape(labels, {bank.size(0)}, "labels");
  ExpectShape(queries, {-1, bank.size(1)}, "queries");
  GENVIEW_CHECK(!ks.empty(), "no number of neighbours");
  const int64_t most = std::min(*std::max_element(ks.begin(), ks.end()), bank.size(0));
  const NearestRows search(bank, most, ReadCpuFeatures().native_bf16);
  const Tensor owners = labels.to(at::kCPU).contiguous();
  const int64_t* owner = owners.const_data_ptr<int64_t>();
  std::vector<Tensor> votes;
  for (size_t i = 0; i < ks.size(); ++i) votes.push_back(at::full({queries.size(0), classes}, kNoVote, at::kFloat));
  for (int64_t from = 0; from < queries.size(0); from += kQueryBlock) {
    const auto found = search.Find(queries.narrow(0, from, std::min(kQueryBlock, queries.size(0) - from)));
    for (size_t i = 0; i < found.size(); ++i) {
      for (size_t j = 0; j < ks.size(); ++j) {
        float* row = votes[j].data_ptr<float>() + (from + static_cast<int64_t>(i)) * classes;
        for (size_t n = 0; n < std::min(found[i].size(), static_cast<size_t>(ks[j])); ++n) {
          float& own = row[owner[found[i][n].place]];
          own = LogOfSum(own, (found[i][n].similarity - found[i][0].similarity) / static_cast<float>(temperature));
        }
      }
    }
  }
  return votes;
}

Tensor KnnVotes(const Tensor& bank, const Tensor& labels, const Tensor& queries, int64_t classes, int64_t k,
                double temperature) {
  return KnnVotes(bank, labels, queries, classes, std::vector<int64_t>{k}, temperature)[0];
}

Hits CountHits(const Tensor& scores, const Tensor& labels, bool voted_only) {
  ExpectShape(scores, {labels.size(0), -1}, "scores");
  const Tensor own = scores.gather(1, labels.unsqueeze(1));  // [N,1]
  const Tensor classes = at::arange(scores.size(1), labels.options()).unsqueeze(0);
  // The number of classes before the true one, [N].
  const Tensor rank = ((scores > own) | ((scores == own) & (classes < labels.unsqueeze(1)))).sum(1);
  Tensor counted = own.squeeze(1) == own.squeeze(1);  // a NaN never counts
  if (voted_only) counted = own.squeeze(1) > kNoVote;
  return {.top1 = ((rank == 0) & counted).sum().item<int64_t>(),
          .top5 = ((rank < 5) & counted).sum().item<int64_t>(),
          .total = labels.size(0)};
}

}  // namespace genview
