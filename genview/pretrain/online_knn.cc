#include "genview/pretrain/online_knn.h"

#include <algorithm>
#include <set>

#include <c10/core/InferenceMode.h>

#include "genview/data/loader.h"
#include "genview/eval/knn_votes.h"

namespace genview {

OnlineKnn::OnlineKnn(std::shared_ptr<const ImageSource> source, int64_t images, const RunOptions& run)
    : source_(std::move(source)), run_(run) {
  std::set<int64_t> classes;
  for (const int64_t i : Permutation(Seed(run.seed).With("online knn"), source_->size())) {
    if (static_cast<int64_t>(indices_.size()) == images) break;
    if (source_->item(i).label < 0) continue;
    indices_.push_back(i);
    classes.insert(source_->item(i).label);
  }
  std::sort(indices_.begin(), indices_.end());
  possible_ = classes.size() >= 2 && indices_.size() >= 10;
}

double OnlineKnn::Top1Percent(const Encoder& encoder, SkippedLog& skipped) const {
  const c10::InferenceMode guard;
  EncodeLoader loader(source_, indices_, encoder.preprocess(), /*batch=*/128, run_.threads, skipped, run_.strict);
  std::vector<Tensor> bank, queries;
  std::vector<int64_t> bank_labels, query_labels;
  EncodeBatch batch;
  int64_t seen = 0;
  while (loader.Next(batch)) {
    const Tensor features = encoder.Encode(batch.pixels.to(encoder.device()), /*tokens=*/false).embeddings.cpu();
    for (size_t i = 0; i < batch.indices.size(); ++i, ++seen) {
      const bool query = seen % 5 == 4;
      (query ? queries : bank).push_back(features[static_cast<int64_t>(i)]);
      (query ? query_labels : bank_labels).push_back(source_->item(batch.indices[i]).label);
    }
  }
  if (queries.empty()) return 0;
  const auto classes = static_cast<int64_t>(source_->classes().size());
  const Tensor votes =
      KnnVotes(at::stack(bank), at::tensor(bank_labels, at::kLong), at::stack(queries), classes, 20, 0.07);
  const Hits hits = CountHits(votes, at::tensor(query_labels, at::kLong));
  return 100.0 * static_cast<double>(hits.top1) / static_cast<double>(hits.total);
}

}  // namespace genview
