#include "genview/pretrain/bench_step.h"

#include <algorithm>
#include <chrono>

#include "genview/pretrain/trainer.h"

namespace genview {

Json BenchStepToJson(const BenchStepResult& r) {
  return {{"median_ms", r.median_ms}, {"min_ms", r.min_ms}, {"max_ms", r.max_ms}, {"pairs_per_second", r.pairs_per_second},
          {"loss", r.loss}, {"peak_bytes", r.peak_bytes}, {"device", r.device}, {"precision", r.precision}};
}

BenchStepResult BenchStep(const BenchStepConfig& config, Progress& progress) {
  using Clock = std::chrono::steady_clock;
  PretrainConfig pretrain;
  pretrain.method = config.method;
  pretrain.backbone = config.backbone;
  pretrain.width = config.width;
  pretrain.small_stem = config.small_stem;
  pretrain.size = config.size;
  pretrain.batch = config.batch;
  pretrain.queue = config.queue;
  pretrain.run = config.run;
  pretrain = Resolved(pretrain);
  const at::Device device = ChooseDevice(config.run.device);
  const at::ScalarType compute = ChooseCompute(config.run.precision, device);
  Trainer trainer(pretrain, config.steps + 2, device, compute);

  const Seed seed = Seed(config.run.seed).With("bench");
  const auto view = [&](std::string_view name) { return NormalTensor(seed.With(name), {config.batch, 3, config.size, config.size}); };
  const Tensor view1 = view("view1"), view2 = view("view2");
  std::vector<double> times;
  BenchStepResult result;
  progress.Begin("bench step", config.steps + 2, "updates");
  for (int64_t step = 0; step < config.steps + 2; ++step) {
    progress.ThrowIfStopped();
    const auto start = Clock::now();
    trainer.Accumulate(view1, view2, {});
    result.loss = trainer.Step().loss.item<double>();  // waits for the device
    if (step >= 2) times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    progress.Update(step + 1);
  }
  progress.End();
  std::sort(times.begin(), times.end());
  result.median_ms = times[times.size() / 2];
  result.min_ms = times.front();
  result.max_ms = times.back();
  result.pairs_per_second = static_cast<double>(config.batch) * 1000 / result.median_ms;
  result.peak_bytes = PeakMemoryBytes();
  result.device = device.str();
  result.precision = at::toString(compute);
  return result;
}

}  // namespace genview
