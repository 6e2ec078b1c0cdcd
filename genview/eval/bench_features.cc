#include "genview/eval/bench_features.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "genview/base/text.h"
#include "genview/data/loader.h"
#include "genview/models/encoder.h"
#include "genview/tensor/flop_count.h"

namespace genview {
namespace {

// All pictures over and over, so that every batch is a full one.
std::vector<int64_t> Around(int64_t images, int64_t count) {
  std::vector<int64_t> indices(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) indices[static_cast<size_t>(i)] = i % images;
  return indices;
}

}  // namespace

BenchFeaturesResult BenchFeatures(const BenchFeaturesConfig& config, Progress& progress) {
  const c10::InferenceMode guard;
  const auto source = OpenSource(config.images);
  const at::Device device = ChooseDevice(config.run.device);
  const at::ScalarType compute = ChooseCompute(config.run.precision, device);
  if (config.run.threads > 0) at::set_num_threads(static_cast<int>(config.run.threads));
  const auto encoder = Encoder::Open(config.encoder, device, compute);
  const int64_t batch_size = EncodeBatchSize(*encoder, config.run.batch);
  constexpr int64_t kMost = int64_t{1} << 22;  // pictures of one way round
  const int64_t rounds = config.seconds > 0 ? kMost / batch_size + 1 : config.rounds + 2;
  SkippedLog skipped;
  EncodeLoader loader(source, Around(source->size(), rounds * batch_size), encoder->preprocess(), batch_size,
                      config.run.threads, skipped, config.run.strict);
  BenchFeaturesResult result{
      .figures = {.images = batch_size, .device = device.str(), .precision = PrecisionName(compute)}};
  int64_t images = 0;
  const auto step = [&] {
    EncodeBatch batch;
    if (!loader.Next(batch))
      throw Error({.what = "there are no more pictures to measure with",
                   .where = config.images,
                   .next = "measure for a shorter time"});
    (void)encoder->Encode(batch.pixels, config.tokens).embeddings.sum().item();  // waits for the device
    images += batch.pixels.size(0);
  };
  progress.Begin("bench features", config.seconds > 0 ? 0 : config.rounds, "batches");
  step();
  images = 0;
  result.figures.gflop_per_step =
      CountFlops(step) / 1e9 * static_cast<double>(batch_size) / static_cast<double>(std::max<int64_t>(images, 1));
  images = 0;
  result.figures.times = MeasureTimes({.rounds = config.rounds, .seconds = config.seconds}, progress, step);
  progress.End();
  result.figures.images = images / result.figures.times.rounds;
  result.wait_share = loader.WaitShare();
  result.figures.NoteMemory(device);
  result.figures.matmul_gflops = MatmulGflops(device, compute);
  return result;
}

}  // namespace genview
