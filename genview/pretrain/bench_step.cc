#include "genview/pretrain/bench_step.h"

#include <ATen/Parallel.h>

#include "genview/pretrain/trainer.h"
#include "genview/tensor/flop_count.h"

namespace genview {
namespace {

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

Json BenchStepToJson(const BenchStepResult& result) {
  Json json = BenchFiguresToJson(result.figures);
  json["loss"] = result.loss;
  return json;
}

BenchStepResult BenchStep(const BenchStepConfig& config, Progress& progress) {
  const at::Device device = ChooseDevice(config.run.device);
  const at::ScalarType compute = ChooseCompute(config.run.precision, device);
  if (config.run.threads > 0) at::set_num_threads(static_cast<int>(config.run.threads));
  const PretrainConfig pretrain = AsPretrain(config);
  Trainer trainer(pretrain, 1 << 20, device, compute);
  const Seed seed = Seed(config.run.seed).With("bench");
  const auto view = [&](std::string_view name) { return NormalTensor(seed.With(name), {config.batch, 3, config.size, config.size}); };
  const Tensor view1 = view("view1"), view2 = view("view2");
  std::vector<Tensor> more;
  for (int64_t k = 3; k <= pretrain.positives; ++k) more.push_back(view(Format("view{}", k)));
  BenchStepResult result{.figures = {.images = config.batch, .device = device.str(), .precision = at::toString(compute)}};
  const auto step = [&] {
    trainer.Accumulate(view1, view2, {}, more);
    result.loss = trainer.Step().loss.item<double>();  // waits for the device
  };
  progress.Begin("bench step", config.seconds > 0 ? 0 : config.steps, "steps");
  result.figures.gflop_per_step = CountFlops(step) / 1e9;
  step();
  result.figures.times = MeasureTimes({.rounds = config.steps, .seconds = config.seconds}, progress, step);
  progress.End();
  result.figures.peak_bytes = PeakMemoryBytes();
  result.figures.matmul_gflops = MatmulGflops(device, compute);
  return result;
}

}  // namespace genview
