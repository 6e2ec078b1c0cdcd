#include "genview/eval/linear.h"

#include <algorithm>

#include "genview/eval/knn_votes.h"
#include "genview/eval/probe.h"

namespace genview {
namespace {

struct Tested {
  Hits hits;
  double loss = 0;  // sum of the cross-entropies
};

// Of each rate's classifier.
std::vector<Tested> Test(const Probe& probe, const FeatureRows& rows) {
  std::vector<Tested> all(static_cast<size_t>(probe.weight.size(0)));
  constexpr int64_t kBlock = 4096;
  for (int64_t from = 0; from < rows.labels.size(0); from += kBlock) {
    const int64_t count = std::min(kBlock, rows.labels.size(0) - from);
    const Tensor scores = ProbeScores(probe, rows.features.narrow(0, from, count));  // [R,count,C]
    const Tensor labels = rows.labels.narrow(0, from, count);
    for (size_t r = 0; r < all.size(); ++r) {
      const Tensor own = scores[static_cast<int64_t>(r)];
      const Hits hits = CountHits(own, labels);
      all[r].hits.top1 += hits.top1;
      all[r].hits.top5 += hits.top5;
      all[r].hits.total += hits.total;
      all[r].loss -= own.log_softmax(1).gather(1, labels.unsqueeze(1)).sum().item<double>();
    }
  }
  return all;
}

FeatureRows Take(const FeatureRows& rows, const Tensor& places) {
  return {rows.features.index_select(0, places), rows.labels.index_select(0, places), {}};
}

}  // namespace

EvalResult EvalLinear(const LinearConfig& config, Progress& progress) {
  CheckRequired(config, {"command line", "eval.linear"});
  Json settings = FieldsToJson(config);
  for (const char* input : {"train", "test", "checkpoint", "out", "cache", "fraction", "run"}) settings.erase(input);
  if (config.lrs.empty()) {
    throw UsageError({.what = "no learning rate is given",
                      .where = "eval.linear.lrs",
                      .next = "give at least one, for example 0.1"});
  }
  Evaluation evaluation("linear", config.inputs, settings);
  EvalResult result;
  if (evaluation.Known(result, progress)) return result;
  const FeatureRows train = evaluation.Train(progress), test = evaluation.Test(progress);
  const int64_t rows = train.labels.size(0);
  ProbeConfig probe{.rates = config.lrs,
                    .epochs = config.epochs,
                    .batch = config.batch,
                    .momentum = config.momentum,
                    .weight_decay = config.weight_decay,
                    .standardise = config.standardise};
  const auto fit = [&](const FeatureRows& on) {
    Probe made = MakeProbe(on.features, evaluation.classes(), probe, evaluation.seed());
    TrainProbe(made, on.features, on.labels, probe, evaluation.seed());
    return made;
  };

  progress.Begin("linear classifiers", 2, "trainings");
  if (probe.rates.size() > 1 && rows >= 2) {
    const Tensor order = at::tensor(Permutation(evaluation.seed().With("holdout"), rows), at::kLong);
    const int64_t held =
        std::clamp<int64_t>(static_cast<int64_t>(config.holdout * static_cast<double>(rows)), 1, rows - 1);
    const std::vector<Tested> tested =
        Test(fit(Take(train, order.narrow(0, held, rows - held))), Take(train, order.narrow(0, 0, held)));
    size_t best = 0;
    for (size_t r = 0; r < tested.size(); ++r) {
      settings["holdout_top1"].push_back(100.0 * static_cast<double>(tested[r].hits.top1) / static_cast<double>(held));
      const bool ties = tested[r].hits.top1 == tested[best].hits.top1;
      if (tested[r].hits.top1 > tested[best].hits.top1 || (ties && tested[r].loss < tested[best].loss)) best = r;
    }
    settings["holdout_images"] = held;
    probe.rates = {config.lrs[best]};
  }
  progress.Update(1);
  progress.ThrowIfStopped();
  const Hits hits = Test(fit(train), test).front().hits;
  progress.Update(2);
  progress.End();
  settings["lr"] = probe.rates[0];
  settings["train_images"] = rows;
  settings["protocol"] = "frozen features of the centre crop, computed once; SGD on cross-entropy, cosine rate";
  return evaluation.Finish(hits.top1, hits.top5, hits.total, std::move(settings));
}

}  // namespace genview
