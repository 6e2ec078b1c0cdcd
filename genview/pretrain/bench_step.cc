#include "genview/pretrain/bench_step.h"

#include <unistd.h>

#include <ATen/Parallel.h>

#include <cmath>
#include <optional>

#include "genview/base/error.h"
#include "genview/data/source.h"
#include "genview/foreground/pca.h"
#include "genview/pretrain/pair_weigher.h"
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
  pretrain.patch_size = config.patch_size;
  pretrain.size = config.size;
  pretrain.batch = config.batch;
  pretrain.queue = config.queue;
  pretrain.optimizer = config.optimizer;
  pretrain.swav.frozen_epochs = 0;  // the whole step, not that of the first epoch
  pretrain.swav.queue = 0;
  pretrain.run = config.run;
  return Resolved(pretrain);
}

// A folder that goes with this.
class Scratch {
 public:
  Scratch() : path_(std::filesystem::temp_directory_path() / Format("genview-bench-{}", ::getpid())) {
    std::filesystem::create_directories(path_);
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  const Path& path() const { return path_; }

 private:
  Path path_;
};

// Weighs random views as a training does, along a random component. Cached maps are of procedural pictures.
class Weights {
 public:
  Weights(const BenchStepConfig& config, PretrainConfig pretrain, at::Device device, at::ScalarType compute,
          Progress& progress) {
    if (config.encoder.empty()) {
      throw UsageError({.what = "pairs are to be weighed, but no encoder is named",
                        .where = "--quality",
                        .next = "name one with `--encoder`"});
    }
    const Seed seed = Seed(config.run.seed).With("bench quality");
    pretrain.out = scratch_.path().string();
    QualityConfig& quality = pretrain.quality;
    quality.enabled = true;
    quality.encoder = config.encoder;
    quality.foreground = (scratch_.path() / "foreground.safetensors").string();
    quality.features = config.quality == BenchQuality::kCached ? QualityFeatures::kCached : QualityFeatures::kOnline;
    ForegroundModel model;
    model.component = NormalTensor(seed, {Encoder::Open(config.encoder)->token_width()});
    WriteForegroundModel(quality.foreground, model);
    const auto pictures = OpenSource(Format("shapes:count={},size={}", config.batch, config.size));
    weigher_ = MakePairWeigher(pretrain, pictures, nullptr, device, compute);
    weigher_->Prepare(progress);
    Random random(seed.With("crops"));
    for (int64_t i = 0; i < config.batch; ++i) batch_.indices.push_back(i);
    for (auto* crops : {&batch_.crops1, &batch_.crops2}) {
      for (int64_t i = 0; i < config.batch; ++i) {
        const auto left = static_cast<float>(0.5 * random.Uniform()), top = static_cast<float>(0.5 * random.Uniform());
        crops->push_back({.left = left, .top = top, .right = left + 0.5F, .bottom = top + 0.5F});
      }
    }
  }
  Tensor Of(const Tensor& view1, const Tensor& view2) {
    batch_.view1 = view1;
    batch_.view2 = view2;
    return weigher_->Weigh(batch_);
  }

 private:
  const Scratch scratch_;
  std::unique_ptr<PairWeigher> weigher_;
  PairBatch batch_;
};

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
  const auto view = [&](std::string_view name) {
    return NormalTensor(seed.With(name), {config.batch, 3, config.size, config.size});
  };
  const Tensor view1 = view("view1"), view2 = view("view2");
  std::vector<Tensor> more;
  for (int64_t k = 3; k <= pretrain.positives; ++k) more.push_back(view(Format("view{}", k)));
  BenchStepResult result{
      .figures = {.images = config.batch, .device = device.str(), .precision = PrecisionName(compute)}};
  std::optional<Weights> weights;
  if (config.quality != BenchQuality::kOff) weights.emplace(config, pretrain, device, compute, progress);
  const auto step = [&] {
    trainer.Accumulate(view1, view2, weights ? weights->Of(view1, view2) : Tensor(), more);
    result.loss = trainer.Step().loss.item<double>();  // waits for the device
    if (std::isfinite(result.loss)) return;
    throw Error({.what = "the loss is not a number, so the times would mean nothing",
                 .where = "bench step",
                 .next = "measure with --precision fp32, or check the encoder that weighs the pairs"});
  };
  progress.Begin("bench step", config.seconds > 0 ? 0 : config.steps, "steps");
  result.figures.gflop_per_step = CountFlops(step) / 1e9;
  step();
  result.figures.times = MeasureTimes({.rounds = config.steps, .seconds = config.seconds}, progress, step);
  progress.End();
  result.figures.NoteMemory(device);
  result.figures.matmul_gflops = MatmulGflops(device, compute);
  return result;
}

}  // namespace genview
