#include "genview/views/bench_views.h"

#include <algorithm>
#include <functional>

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "genview/base/text.h"
#include "genview/diffusion/pipeline.h"
#include "genview/tensor/flop_count.h"
#include "genview/views/batch_size.h"

namespace genview {
namespace {

struct Work {
  std::shared_ptr<const UnclipPipeline> pipeline;
  Tensor pixels;
  UnclipRequest request;

  void Generate(int64_t steps) {
    request.steps = steps;
    request.embeddings = pipeline->EncodeImages(pixels);
    for (const std::string& fault : pipeline->Generate(request).faults) {
      if (fault == "not a number")
        throw Error(
            {.what = Format("a view is {}", fault), .where = "bench views", .next = "measure with --precision fp32"});
    }
  }
};

// Operations grow by the same with every step. Counting a few says it for all, and warms the machine up.
double CountViews(Work& work, int64_t steps) {
  const int64_t few = std::min<int64_t>(steps, 5);
  const double of_few = CountFlops([&] { work.Generate(few); });
  const double of_fewer = steps > few ? CountFlops([&] { work.Generate(few - 1); }) : 0;
  return of_few + static_cast<double>(steps - few) * (of_few - of_fewer);
}

}  // namespace

BenchFigures BenchViews(const BenchViewsConfig& config, Progress& progress) {
  const c10::InferenceMode guard;
  const at::Device device = ChooseDevice(config.run.device);
  const at::ScalarType compute = ChooseCompute(config.run.precision, device);
  if (config.run.threads > 0) at::set_num_threads(static_cast<int>(config.run.threads));
  progress.Begin("bench views", config.seconds > 0 ? 0 : config.rounds, "batches");
  const BenchRounds rounds{.rounds = config.rounds, .seconds = config.seconds};
  BenchFigures figures{.images = 1, .device = device.str(), .precision = PrecisionName(compute)};
  const auto open = [&] { return UnclipPipeline::Open(config.generator, device, compute, config.keep); };
  if (config.part == BenchPart::kLoad) {
    figures.times = MeasureTimes(rounds, progress, [&] { open()->ReadUnet(); });
    figures.NoteMemory(device);
    figures.matmul_gflops = MatmulGflops(device, compute);
    progress.End();
    return figures;
  }
  const auto pipeline = open();
  std::vector<int64_t> shape = pipeline->latent_shape(), levels;
  if (config.latents > 0) shape[1] = shape[2] = config.latents;
  const int64_t batch = config.run.batch > 0 ? config.run.batch : AutoViewBatch(device, shape);
  const bool tiles = DecodesInTiles(config.decode, *pipeline, shape, batch);
  const Seed seed = Seed(config.run.seed).With("bench");
  const int64_t size = pipeline->preprocess().size;
  shape.insert(shape.begin(), batch);
  for (int64_t i = 0; i < batch; ++i) levels.push_back(i * 100 % std::min<int64_t>(500, pipeline->levels()));
  const Tensor latents = NormalTensor(seed.With("latents"), shape);
  figures.images = batch;
  const auto measure = [&](double flops, const std::function<void()>& work) {
    figures.gflop_per_step = flops / 1e9;
    figures.times = MeasureTimes(rounds, progress, work);
  };
  if (config.part == BenchPart::kUnet) {
    const auto call = [&] { pipeline->CallUnet(latents, /*guided=*/config.guidance > 1).cpu(); };
    measure(CountFlops(call), call);
  } else if (config.part == BenchPart::kDecode) {
    const auto decode = [&] { pipeline->Decode(latents, tiles).cpu(); };
    measure(CountFlops(decode), decode);
  } else {
    Work work{pipeline,
              NormalTensor(seed.With("pixels"), {batch, 3, size, size}),
              {.embeddings = {},
               .levels = levels,
               .guidance = std::vector<double>(static_cast<size_t>(batch), config.guidance),
               .embedding_noise = NormalTensor(seed.With("embedding"), {batch, pipeline->embedding_width()}),
               .latents = latents,
               .latents_as_given = false,
               .steps = config.steps,
               .scheduler = config.scheduler,
               .prompts = {},
               .negative_prompt = {},
               .tiles = tiles}};
    measure(CountViews(work, config.steps), [&] { work.Generate(config.steps); });
  }
  progress.End();
  figures.NoteMemory(device);
  figures.matmul_gflops = MatmulGflops(device, compute);
  return figures;
}

}  // namespace genview
