#include "genview/eval/probe_on_crops.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "genview/eval/kept_training.h"
#include "genview/eval/probe_training.h"

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

  // What waits for its step, between two batches of the loader.
  void AddState(std::vector<std::pair<std::string, Tensor>>& state) const {
    if (empty()) return;
    state.emplace_back("rows.features", features());
    state.emplace_back("rows.labels", labels());
  }
  void LoadState(const WeightMap& kept, WeightReader& reader) {
    Clear();
    if (!kept.Has("rows.features")) return;
    Add(kept.At("rows.features"), kept.At("rows.labels"), 0);
    for (const char* name : {"rows.features", "rows.labels"}) reader.Ignore(name);
  }

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
  KeptTraining kept(training.keep, training.request, training.keep_seconds);
  const int64_t per_epoch = (labelled.size() + config.batch - 1) / config.batch, steps = per_epoch * config.epochs;
  int64_t epoch = 0, step = 0;
  int64_t pictures = 0;  // of the epoch that have been encoded; the loader may hand over others at a time than before
  if (const auto state = kept.Latest(training.crops.strict, skipped)) {
    WeightReader reader(state->weights);
    classifiers.LoadState(reader);
    rows.LoadState(state->weights, reader);
    reader.Finish();
    step = state->step;
    epoch = JsonInt(state->meta, "epoch", 0, state->path.string());
    pictures = JsonInt(state->meta, "pictures", 0, state->path.string());
  }
  progress.Begin("linear classifiers on crops", steps, "steps");
  progress.Update(step);
  const auto take_step = [&] {
    const Tensor losses = classifiers.Step(rows.features(), rows.labels(), ProbeFactor(config, step, per_epoch));
    rows.Clear();
    const double loss = LeastLoss(losses, step, config);
    progress.Update(++step, loader.WaitShare(), Format("epoch {}, loss {:.4g}", epoch + 1, loss));
  };
  const auto keep = [&] {
    auto state = classifiers.State();
    rows.AddState(state);
    kept.Save(step, std::move(state), {{"epoch", epoch}, {"pictures", pictures}}, skipped);
  };
  for (; epoch < config.epochs; ++epoch, pictures = 0) {
    const int64_t at_a_time = training.crops.batch;
    loader.Start(epoch, pictures / at_a_time);
    int64_t from = pictures % at_a_time;
    for (PairBatch batch; loader.Next(batch); from = 0) {
      const Tensor features = Encode(encoder, batch.view1), labels = LabelsOf(labelled, batch.indices);
      pictures += features.size(0) - from;
      while (from < features.size(0)) {
        from += rows.Add(features, labels, from);
        if (rows.full()) take_step();
      }
      const bool stopped = progress.Stopped();
      if (stopped || kept.Due()) keep();
      if (stopped) throw Interrupted();
    }
    if (!rows.empty()) take_step();  // what is left over after the last full batch
  }
  progress.End();
  probe = classifiers.Trained();
}

}  // namespace genview
