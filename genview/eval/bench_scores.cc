#include "genview/eval/bench_scores.h"

#include <ATen/Parallel.h>

#include <cmath>

#include "genview/eval/knn_votes.h"
#include "genview/eval/probe.h"
#include "genview/tensor/device.h"
#include "genview/tensor/flop_count.h"

namespace genview {
namespace {

Tensor RandomLabels(Seed seed, int64_t rows, int64_t classes) {
  Random random(seed);
  std::vector<int64_t> labels(static_cast<size_t>(rows));
  for (int64_t& label : labels) label = random.Below(classes);
  return at::tensor(labels, at::kLong);
}

template <class Config>
BenchFigures Measure(const char* name, const Config& config, int64_t images, Progress& progress,
                     const std::function<void()>& work) {
  if (config.run.threads > 0) at::set_num_threads(static_cast<int>(config.run.threads));
  const BenchRounds rounds{.rounds = config.rounds, .seconds = config.seconds};
  BenchFigures figures{.images = images, .device = "cpu", .precision = PrecisionName(at::kFloat)};
  progress.Begin(name, rounds.seconds > 0 ? 0 : rounds.rounds, "rounds");
  figures.gflop_per_step = CountFlops(work) / 1e9;
  figures.times = MeasureTimes(rounds, progress, work);
  progress.End();
  figures.NoteMemory(at::kCPU);
  figures.matmul_gflops = MatmulGflops(at::kCPU, at::kFloat);
  return figures;
}

}  // namespace

BenchFigures BenchLinear(const BenchLinearConfig& config, Progress& progress) {
  const Seed seed = Seed(config.run.seed).With("bench linear");
  const Tensor features = NormalTensor(seed.With("features"), {config.images, config.width});
  const Tensor labels = RandomLabels(seed.With("labels"), config.images, config.classes);
  ProbeConfig probe_config{.rates = {}, .epochs = config.epochs, .batch = config.batch};
  for (int64_t i = 0; i < config.rates; ++i) probe_config.rates.push_back(1e-3 * std::pow(2.0, static_cast<double>(i)));
  Probe probe = MakeProbe(features, config.classes, probe_config, seed);
  Progress silent;  // what is shown are rounds
  return Measure("bench linear", config, config.images * config.epochs, progress,
                 [&] { TrainProbe(probe, features, labels, probe_config, seed, silent); });
}

BenchFigures BenchKnn(const BenchKnnConfig& config, Progress& progress) {
  const Seed seed = Seed(config.run.seed).With("bench knn");
  const Tensor bank = NormalTensor(seed.With("bank"), {config.images, config.width});
  const Tensor queries = NormalTensor(seed.With("queries"), {config.queries, config.width});
  const Tensor labels = RandomLabels(seed.With("labels"), config.images, config.classes);
  return Measure("bench knn", config, config.queries, progress,
                 [&] { (void)KnnVotes(bank, labels, queries, config.classes, config.k, 0.07); });
}

}  // namespace genview
