#include "genview/eval/probe_on_crops.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>

#include "genview/eval/probe_training.h"
#include "genview/tensor/finite.h"
#include "genview/train/checkpoint.h"

namespace genview {
namespace {

Tensor Encode(const Encoder& encoder, const Tensor& pixels) {  // [N,D]
  const c10::InferenceMode guard;
  return encoder.Encode(pixels.to(encoder.device()), /*tokens=*/false).embeddings;
}

// Of the classifiers' losses the least that is a number.
double LeastLoss(const Tensor& losses, int64_t step, const ProbeConfig& config) {
  const Tensor all = losses.to(at::kCPU, at::kDouble);
  double least = std::numeric_limits<double>::infinity();
  for (int64_t r = 0; r < all.size(0); ++r) {
    const double loss = all[r].item<double>();
    if (std::isfinite(loss)) least = std::min(least, loss);
  }
  if (!std::isfinite(least)) {
    throw Error({.what = Format("the loss is no longer a number at step {}", step),
                 .where = "eval.linear",
                 .next = Format("use smaller `lrs` than {}", fmt::join(config.rates, ","))});
  }
  return least;
}

// How many epochs were done before the call was killed.
int64_t Resume(const CropTraining& training, ProbeTraining& classifiers, SkippedLog& skipped) {
  if (training.keep.empty()) return 0;
  const std::optional<Checkpoint> kept = LatestCheckpoint(training.keep);
  const std::string where = training.keep.string();
  if (!kept || JsonString(kept->meta, "request", "", where) != training.request) return 0;
  WeightReader reader(kept->weights);
  classifiers.LoadState(reader);
  reader.Finish();
  AddSkipped(JsonString(kept->meta, "skipped", "", where), skipped);
  return kept->step;
}

void Keep(const CropTraining& training, const ProbeTraining& classifiers, int64_t epochs, const SkippedLog& skipped) {
  const auto state = classifiers.State();
  // Of a rate that is too large: what is no number could not be read again, and a killed call begins anew.
  for (const auto& [name, tensor] : state) {
    if (!AllFinite(tensor)) return;
  }
  const Json meta = {{"format", 1},
                     {"kind", "linear classifiers"},
                     {"request", training.request},
                     {"skipped", SkippedToText(skipped)}};
  SaveCheckpoint(training.keep, epochs, state, meta, /*keep=*/1);
}

// The features of one step, put together of what the encoder made of the loader's batches.
class StepRows {
 public:
  StepRows(int64_t most, const Encoder& encoder)
      : features_(at::empty({most, encoder.embedding_width()},
                            at::TensorOptions().dtype(at::kFloat).device(encoder.device()))),
        labels_(at::empty({most}, at::kLong)) {}

  // Takes rows from `from` on as far as there is room; returns how many.
  int64_t Add(const Tensor& features, const Tensor& labels, int64_t from) {
    const int64_t count = std::min(features.size(0) - from, labels_.size(0) - filled_);
    features_.narrow(0, filled_, count).copy_(features.narrow(0, from, count));
    labels_.narrow(0, filled_, count).copy_(labels.narrow(0, from, count));
    filled_ += count;
    return count;
  }
  bool empty() const { return filled_ == 0; }
  bool full() const { return filled_ == labels_.size(0); }
  Tensor features() const { return features_.narrow(0, 0, filled_); }
  Tensor labels() const { return labels_.narrow(0, 0, filled_); }
  void Clear() { filled_ = 0; }

 private:
  const Tensor features_, labels_;  // [most,D] on the encoder's device, [most]
  int64_t filled_ = 0;
};

}  // namespace

void TrainProbeOnCrops(Probe& probe, const Encoder& encoder, const CropTraining& training, const ProbeConfig& config,
                       SkippedLog& skipped, Progress& progress) {
  const ImageSource& labelled = *training.labelled;
  PairLoader loader(training.labelled, nullptr, training.crops, skipped);
  ProbeTraining classifiers(probe, config, encoder.device());
  StepRows rows(std::min(config.batch, labelled.size()), encoder);
  const int64_t per_epoch = (labelled.size() + config.batch - 1) / config.batch, steps = per_epoch * config.epochs;
  int64_t epoch = Resume(training, classifiers, skipped), step = epoch * per_epoch;
  auto kept = std::chrono::steady_clock::now();
  progress.Begin("linear classifiers on crops", steps, "steps");
  progress.Update(step);
  const auto take_step = [&] {
    const Tensor losses = classifiers.Step(rows.features(), rows.labels(), ProbeFactor(config, step, per_epoch));
    rows.Clear();
    const double loss = LeastLoss(losses, step, config);
    progress.Update(++step, loader.WaitShare(), Format("epoch {}, loss {:.4g}", epoch + 1, loss));
  };
  while (epoch < config.epochs) {
    loader.Start(epoch);
    for (PairBatch batch; loader.Next(batch);) {
      progress.ThrowIfStopped();
      const Tensor features = Encode(encoder, batch.view1), labels = LabelsOf(labelled, batch.indices);
      for (int64_t from = 0; from < features.size(0);) {
        from += rows.Add(features, labels, from);
        if (rows.full()) take_step();
      }
    }
    if (!rows.empty()) take_step();  // what is left over after the last full batch
    ++epoch;
    const std::chrono::duration<double> since = std::chrono::steady_clock::now() - kept;
    if (training.keep.empty() || since.count() < training.keep_seconds || epoch == config.epochs) continue;
    Keep(training, classifiers, epoch, skipped);
    kept = std::chrono::steady_clock::now();
  }
  progress.End();
  probe = classifiers.Trained();
}

}  // namespace genview
