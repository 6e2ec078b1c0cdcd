#include "genview/eval/knn.h"

#include "genview/eval/knn_votes.h"

namespace genview {

EvalResult EvalKnn(const KnnConfig& config, Progress& progress) {
  CheckRequired(config, {"command line", "eval.knn"});
  Json settings = {{"k", config.k}, {"temperature", config.temperature}};
  Evaluation evaluation("knn", config.inputs, settings);
  EvalResult result;
  if (evaluation.Known(result)) return result;
  const FeatureRows train = evaluation.Train(progress), test = evaluation.Test(progress);
  const auto count = [&](int64_t k) {
    return CountHits(KnnVotes(train.features, train.labels, test.features, evaluation.classes(), k, config.temperature),
                     test.labels, /*positive_only=*/true);
  };
  const Hits hits = count(config.k);
  for (const int64_t k : {1, 5, 10, 20, 100, 200}) {
    if (k > train.labels.size(0)) break;
    settings["top1_by_k"][Format("{}", k)] = 100.0 * static_cast<double>(count(k).top1) / static_cast<double>(hits.total);
  }
  settings["train_images"] = train.labels.size(0);
  return evaluation.Finish(hits.top1, hits.top5, hits.total, std::move(settings));
}

}  // namespace genview
