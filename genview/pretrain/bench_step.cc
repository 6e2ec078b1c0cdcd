#include "genview/pretrain/bench_step.h"

#include <algorithm>
#include <chrono>

#include <ATen/Parallel.h>

#include "genview/pretrain/trainer.h"
#include "genview/tensor/flop_count.h"

namespace genview {

namespace {

using Clock = std::chrono::steady_clock;
double Seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

PretrainConfig AsPretrain(const BenchStepConfig& config) {
  PretrainConfig pretrain;
  pretrain.method = config.method;
  pretrain.backbone = config.backbone;
  pretrain.width = config.width;
  pretrain.small_stem = config.small_stem;
  pretrain.size = config.size;
  pretrain.batch = config.batch;
  pretrain.queue = config.queue;
  pretrain.swav.frozen_epochs = 0;  // the whole step, not that of the first epoch
  pretrain.swav.queue = 0;
  pretrain.run = config.run;
  return Resolved(pretrain);
}

}  // namespace

Json BenchStepToJson(const BenchStepResult& r) {
  return {{"images_per_second", r.pairs_per_second},
          {"peak_memory_bytes", r.peak_bytes},
          {"median_ms", r.median_ms},
          {"min_ms", r.min_ms},
          {"max_ms", r.max_ms},
          {"loss", r.loss},
          {"gflop_per_step", r.gflop_per_step},
          {"matmul_gflops", r.matmul_gflops},
          {"peak_share", r.peak_share},
          {"device", r.device},
          {"precision", r.precision}};
}

BenchStepResult BenchStep(const BenchStepConfig& config, Progress& progress) {
  const at::Device device = ChooseDevice(config.run.device);
  const at::ScalarType compute = ChooseCompute(config.run.precision, device);
  if (config.run.threads > 0) at::set_num_threads(static_cast<int>(config.run.threads));
  Trainer trainer(AsPretrain(config), 1 << 20, device, compute);
  const Seed seed = Seed(config.run.seed).With("bench");
  const auto view = [&](std::string_view name) { return NormalTensor(seed.With(name), {config.batch, 3, config.size, config.size}); };
  const Tensor view1 = view("view1"), view2 = view("view2");
  BenchStepResult result;
  const auto step = [&] {
    trainer.Accumulate(view1, view2, {});
    result.loss = trainer.Step().loss.item<double>();  // waits for the device
  };
  progress.Begin("bench step", config.seconds > 0 ? 0 : config.steps, "steps");
  result.gflop_per_step = CountFlops(step) / 1e9;
  step();
  std::vector<double> times;  // ms
  const auto begin = Clock::now();
  const auto more = [&] {
    if (times.empty()) return true;
    return config.seconds > 0 ? Seconds(Clock::now() - begin) < config.seconds : static_cast<int64_t>(times.size()) < config.steps;
  };
  while (more()) {
    progress.ThrowIfStopped();
    const auto start = Clock::now();
    step();
    times.push_back(1000 * Seconds(Clock::now() - start));
    progress.Update(static_cast<int64_t>(times.size()));
  }
  progress.End();
  result.peak_bytes = PeakMemoryBytes();
  std::sort(times.begin(), times.end());
  result.median_ms = times[times.size() / 2];
  result.min_ms = times.front();
  result.max_ms = times.back();
  result.pairs_per_second = static_cast<double>(config.batch) * 1000 / result.median_ms;
  result.matmul_gflops = MatmulGflops(device, compute);
  result.peak_share = result.gflop_per_step / (result.median_ms / 1000) / result.matmul_gflops;
  result.device = device.str();
  result.precision = at::toString(compute);
  return result;
}

}  // namespace genview
