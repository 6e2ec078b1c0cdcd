#include "genview/data/bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "genview/base/text.h"
#include "genview/data/loader.h"
#include "genview/data/ordered_batches.h"
#include "genview/tensor/kept_memory.h"

namespace genview {
namespace {

// Takes batches of pairs, epoch after epoch, without end.
class PairStream {
 public:
  PairStream(const std::shared_ptr<const ImageSource>& source, const LoaderBenchConfig& config, int64_t batch,
             SkippedLog& skipped)
      : loader_(source, nullptr, PairConfig(config, batch), skipped) {
    loader_.Start(0);
  }

  int64_t Take() {
    while (!loader_.Next(batch_)) loader_.Start(++epoch_);
    return static_cast<int64_t>(batch_.indices.size());
  }

 private:
  static PairLoaderConfig PairConfig(const LoaderBenchConfig& config, int64_t batch) {
    PairLoaderConfig pairs;
    pairs.view1 = pairs.view2 = AugmentPreset("moco-v2");
    pairs.view1.size = pairs.view2.size = config.size;
    pairs.batch = batch;
    pairs.threads = config.threads;
    return pairs;
  }

  PairLoader loader_;
  PairBatch batch_;
  int64_t epoch_ = 0;
};

// The same for single pictures.
class EncodeStream {
 public:
  EncodeStream(std::shared_ptr<const ImageSource> source, const LoaderBenchConfig& config, int64_t batch,
               SkippedLog& skipped)
      : source_(std::move(source)), config_(config), batch_size_(batch), skipped_(skipped) {}

  int64_t Take() {
    for (int attempt = 0; attempt < 2; ++attempt) {
      if (!loader_) Begin();
      if (loader_->Next(batch_)) return static_cast<int64_t>(batch_.indices.size());
      loader_.reset();
    }
    throw Error({.what = "none of the pictures can be read", .where = config_.images, .next = "check the files"});
  }

 private:
  void Begin() {
    // Many rounds in one, so that the threads need not start anew for a small source.
    std::vector<int64_t> indices;
    while (indices.size() < 100'000) {
      for (int64_t i = 0; i < source_->size(); ++i) indices.push_back(i);
    }
    Preprocess preprocess;
    preprocess.size = preprocess.resize_shortest = config_.size;
    loader_ =
        std::make_unique<EncodeLoader>(source_, std::move(indices), preprocess, batch_size_, config_.threads, skipped_,
                                       /*strict=*/false);
  }

  std::shared_ptr<const ImageSource> source_;
  LoaderBenchConfig config_;
  int64_t batch_size_;
  SkippedLog& skipped_;
  std::unique_ptr<EncodeLoader> loader_;
  EncodeBatch batch_;
};

template <class Stream>
void Measure(Stream& stream, double seconds, LoaderBenchResult& result, Progress& progress) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  stream.Take();
  const auto begin = Clock::now();
  progress.Begin("loader", static_cast<int64_t>(std::ceil(seconds)), "seconds");
  while (since(begin) < seconds) {
    result.images += stream.Take();
    progress.Update(static_cast<int64_t>(since(begin)));
    progress.ThrowIfStopped();
  }
  result.seconds = since(begin);
  result.images_per_second = static_cast<double>(result.images) / result.seconds;
  progress.End(Format("{:.0f} images/s", result.images_per_second));
}

}  // namespace

LoaderBenchResult BenchLoader(const LoaderBenchConfig& config, Progress& progress) {
  const KeptMemory kept;  // as in a training, where batches take each other's place
  const auto source = OpenSource(config.images);
  SkippedLog skipped;
  LoaderBenchResult result;
  result.threads = ResolveThreads(config.threads);
  // Batches of a size that is soon full, so that a short measurement is a fair one.
  const int64_t batch = std::min<int64_t>(source->size(), config.size <= 64 ? 256 : 32);
  if (config.views == 2) {
    PairStream stream(source, config, batch, skipped);
    Measure(stream, config.seconds, result, progress);
  } else {
    EncodeStream stream(source, config, batch, skipped);
    Measure(stream, config.seconds, result, progress);
  }
  result.skipped = skipped.count();
  return result;
}

}  // namespace genview
