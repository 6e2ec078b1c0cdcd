#include "genview/eval/linear.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>

#include "genview/eval/knn_votes.h"
#include "genview/eval/probe_on_crops.h"

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

// Fields that came later, in which today's settings are those of before: their results stay known.
constexpr const char* kLater[] = {"crops", "optimizer", "nesterov", "schedule", "per_epoch", "init"};

// What besides the pictures and the encoder decides the result.
Json SettingsOf(const LinearConfig& config) {
  Json settings = FieldsToJson(config);
  for (const char* input : {"train", "test", "checkpoint", "out", "cache", "fraction", "run"}) settings.erase(input);
  const Json usual = FieldsToJson(LinearConfig());
  const bool as_before =
      std::all_of(std::begin(kLater), std::end(kLater), [&](const char* key) { return settings[key] == usual[key]; });
  for (const char* key : kLater) {
    if (as_before) settings.erase(key);
  }
  return settings;
}

ProbeConfig ProbeOf(const LinearConfig& config) {
  return {.rates = config.lrs,
          .epochs = config.epochs,
          .batch = config.batch,
          .momentum = config.momentum,
          .weight_decay = config.weight_decay,
          .standardise = config.standardise,
          .optimizer = config.optimizer,
          .nesterov = config.nesterov,
          .schedule = config.schedule,
          .per_epoch = config.per_epoch,
          .init = config.init};
}

std::string ProtocolOf(const LinearConfig& config) {
  std::string optimizer = config.optimizer == ProbeOptimizer::kSgd ? "SGD" : EnumName(config.optimizer);
  if (config.nesterov) optimizer += " with Nesterov's momentum";
  return Format("{}; {} on cross-entropy, {} rate{}",
                config.crops ? "frozen encoder, random crops (0.08 to 1 of the picture) and flips drawn in each epoch, "
                               "test on the centre crop"
                             : "frozen features of the centre crop, computed once",
                optimizer, EnumName(config.schedule), config.per_epoch ? " by epoch" : "");
}

// How many of `rows` are held out to choose a rate on.
int64_t HeldOut(const LinearConfig& config, int64_t rows) {
  if (config.lrs.size() < 2 || rows < 2) return 0;
  return std::clamp<int64_t>(static_cast<int64_t>(config.holdout * static_cast<double>(rows)), 1, rows - 1);
}

// The rate whose classifier did best on the rows that were held out, which `settings` tells.
size_t BestRate(const std::vector<Tested>& tested, Json& settings) {
  const int64_t held = tested.front().hits.total;
  size_t best = 0;
  for (size_t r = 0; r < tested.size(); ++r) {
    settings["holdout_top1"].push_back(100.0 * static_cast<double>(tested[r].hits.top1) / static_cast<double>(held));
    const bool ties = tested[r].hits.top1 == tested[best].hits.top1;
    const bool better = tested[r].hits.top1 > tested[best].hits.top1 || (ties && tested[r].loss < tested[best].loss);
    // The scores of a rate that was too large are no numbers, and its hits say nothing.
    if (std::isfinite(tested[best].loss) ? better && std::isfinite(tested[r].loss) : std::isfinite(tested[r].loss))
      best = r;
  }
  settings["holdout_images"] = held;
  return best;
}

// The rate that is taken where there is nothing to choose on; of an even number the larger one of the middle.
double MiddleRate(std::vector<double> rates, Json& settings) {
  std::sort(rates.begin(), rates.end());
  settings["holdout_images"] = 0;
  settings["lr_chosen"] = "the middle of lrs: no class has two pictures";
  return rates[rates.size() / 2];
}

EvalResult ScoreOnFeatures(const LinearConfig& config, Evaluation& evaluation, Json settings, Progress& progress) {
  const FeatureRows train = evaluation.Train(progress), test = evaluation.Test(progress);
  const int64_t rows = train.labels.size(0);
  ProbeConfig probe = ProbeOf(config);
  const auto fit = [&](const FeatureRows& on) {
    Probe made = MakeProbe(on.features, evaluation.classes(), probe, evaluation.seed());
    TrainProbe(made, on.features, on.labels, probe, evaluation.seed(), progress);
    return made;
  };

  const auto* labels = train.labels.const_data_ptr<int64_t>();
  const RateSplit split = SplitForRates({labels, labels + rows}, HeldOut(config, rows), evaluation.seed());
  if (!split.held.empty()) {
    const auto take = [&](const std::vector<int64_t>& places) { return Take(train, at::tensor(places, at::kLong)); };
    probe.rates = {config.lrs[BestRate(Test(fit(take(split.fit)), take(split.held)), settings)]};
  } else if (config.lrs.size() > 1) {
    probe.rates = {MiddleRate(config.lrs, settings)};
  }
  const Hits hits = Test(fit(train), test).front().hits;
  settings["lr"] = probe.rates[0];
  settings["train_images"] = rows;
  settings["protocol"] = ProtocolOf(config);
  return evaluation.Finish(hits.top1, hits.top5, hits.total, std::move(settings));
}

EvalResult ScoreOnCrops(LinearConfig config, Evaluation& evaluation, Json settings, Progress& progress) {
  const Encoder& encoder = evaluation.encoder();
  const RunOptions& run = config.inputs.run;
  const auto source = evaluation.train_source();
  const std::vector<int64_t> all = evaluation.TrainIndices();
  std::vector<int64_t> labels, fit = all, held_out;
  for (const int64_t i : all) labels.push_back(source->item(i).label);
  const RateSplit split = SplitForRates(labels, HeldOut(config, std::ssize(all)), evaluation.seed());
  const bool choose = !split.held.empty();
  if (choose) {
    const auto pick = [&](std::vector<int64_t> places) {
      std::sort(places.begin(), places.end());
      for (int64_t& place : places) place = all[static_cast<size_t>(place)];
      return places;
    };
    fit = pick(split.fit);
    held_out = pick(split.held);
  } else if (config.lrs.size() > 1) {
    config.lrs = {MiddleRate(config.lrs, settings)};
  }
  // First of all what the classifiers are tested on: what is wrong there is not to be found after hours.
  const FeatureRows test = evaluation.Test(progress);
  const FeatureRows choice = choose ? evaluation.Train(progress, held_out) : FeatureRows();
  const ProbeConfig probe_config = ProbeOf(config);
  const auto features = [&] {
    return (choose ? evaluation.Train(progress, fit) : evaluation.Train(progress)).features;
  };
  const Tensor uncropped = config.standardise ? features() : at::empty({0, encoder.embedding_width()});
  Probe probe = MakeProbe(uncropped, evaluation.classes(), probe_config, evaluation.seed());

  const auto labelled = ChooseOf(source, std::move(fit), "linear classifiers");
  const int64_t batch = std::min(run.batch > 0 ? run.batch : 128, labelled->size());
  SkippedLog skipped;
  TrainProbeOnCrops(probe, encoder,
                    {.labelled = labelled,
                     .crops = LabelledCrops(encoder.preprocess(), batch, evaluation.seed(), run),
                     .keep = evaluation.StateFolder(),
                     .request = evaluation.request()},
                    probe_config, skipped, progress);
  evaluation.LeaveOut(skipped, IdsOf(*labelled), "training", progress);

  const size_t best = choose ? BestRate(Test(probe, choice), settings) : 0;
  const Hits hits = Test(probe, test)[best].hits;
  settings["lr"] = config.lrs[best];
  settings["train_images"] = labelled->size();
  settings["protocol"] = ProtocolOf(config);
  return evaluation.Finish(hits.top1, hits.top5, hits.total, std::move(settings));
}

}  // namespace

RateSplit SplitForRates(const std::vector<int64_t>& labels, int64_t held, Seed seed) {
  std::map<int64_t, int64_t> left;  // of each class
  for (const int64_t label : labels) ++left[label];
  RateSplit split;
  for (const int64_t place : Permutation(seed.With("holdout"), std::ssize(labels))) {
    int64_t& own = left[labels[static_cast<size_t>(place)]];
    const bool spare = std::ssize(split.held) < held && own > 1;
    own -= spare ? 1 : 0;
    (spare ? split.held : split.fit).push_back(place);
  }
  return split;
}

void CheckLinear(const LinearConfig& config) {
  if (config.lrs.empty()) {
    throw UsageError({.what = "no learning rate is given",
                      .where = "eval.linear.lrs",
                      .next = "give at least one, for example 0.1"});
  }
  if (config.nesterov && config.optimizer != ProbeOptimizer::kSgd) {
    throw UsageError({.what = Format("`nesterov` is of sgd, and the optimizer is {}", EnumName(config.optimizer)),
                      .where = "eval.linear.nesterov",
                      .next = "leave it away, or take the optimizer sgd"});
  }
}

EvalResult EvalLinear(const LinearConfig& config, Progress& progress) {
  CheckRequired(config, {"command line", "eval.linear"});
  CheckLinear(config);
  Json settings = SettingsOf(config);
  Evaluation evaluation("linear", config.inputs, settings);
  EvalResult result;
  if (evaluation.Known(result, progress)) return result;
  return config.crops ? ScoreOnCrops(config, evaluation, std::move(settings), progress)
                      : ScoreOnFeatures(config, evaluation, std::move(settings), progress);
}

}  // namespace genview
