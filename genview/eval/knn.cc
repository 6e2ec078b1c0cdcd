#include "genview/eval/knn.h"

#include "genview/eval/knn_votes.h"

namespace genview {

EvalResult EvalKnn(const KnnConfig& config, Progress& progress) {
  CheckRequired(config, {"command line", "eval.knn"});
  Json settings = {{"k", config.k}, {"temperature", config.temperature}};
  Evaluation evaluation("knn", config.inputs, settings);
  EvalResult result;
  if (evaluation.Known(result, progress)) return result;
  const FeatureRows train = evaluation.Train(progress), test = evaluation.Test(progress);
  std::vector<int64_t> ks{config.k};
  for (const int64_t k : {1, 5, 10, 20, 100, 200}) {
    if (k <= train.labels.size(0)) ks.push_back(k);
  }
  const std::vector<Tensor> votes =
      KnnVotes(train.features, train.labels, test.features, evaluation.classes(), ks, config.temperature);
  const auto count = [&](size_t i) { return CountHits(votes[i], test.labels, /*voted_only=*/true); };
  const Hits hits = count(0);
  for (size_t i = 1; i < ks.size(); ++i) {
    settings["top1_by_k"][Format("{}", ks[i])] =
        100.0 * static_cast<double>(count(i).top1) / static_cast<double>(hits.total);
  }
  settings["train_images"] = train.labels.size(0);
  return evaluation.Finish(hits.top1, hits.top5, hits.total, std::move(settings));
}

}  // namespace genview
