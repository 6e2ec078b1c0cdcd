#include "genview/foreground/fit.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/loader.h"
#include "genview/models/encoder.h"
#include "genview/records/refuse_skipped.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

constexpr double kSureMargin = 0.25;  // below it the sign is a guess, and the user is told

std::vector<int64_t> DrawSample(int64_t available, int64_t wanted, uint64_t seed) {
  std::vector<int64_t> sample = Permutation(Seed(seed).With("foreground sample"), available);
  sample.resize(static_cast<size_t>(std::min(available, wanted)));
  std::sort(sample.begin(), sample.end());  // files are read in the order in which they lie
  return sample;
}

struct Sample {
  std::shared_ptr<const ImageSource> source;
  std::vector<int64_t> indices;
  std::shared_ptr<const Encoder> encoder;
  SkippedLog skipped;

  int64_t size() const { return static_cast<int64_t>(indices.size()); }
  int64_t token_bytes() const {
    return size() * encoder->grid() * encoder->grid() * encoder->token_width() * static_cast<int64_t>(sizeof(float));
  }
};

// One walk over the sample: `use` gets the tokens of each batch, [N,T,C] fp32 on the encoder's device.
void ForEachBatch(Sample& sample, const RunOptions& run, int64_t done, Progress& progress,
                  const std::function<void(const Tensor&)>& use) {
  const c10::InferenceMode inference;
  EncodeLoader loader(sample.source, sample.indices, sample.encoder->preprocess(),
                      EncodeBatchSize(*sample.encoder, run.batch), run.threads, sample.skipped, run.strict);
  for (EncodeBatch batch; loader.Next(batch);) {
    use(sample.encoder->Encode(batch.pixels, /*tokens=*/true).tokens);
    done += static_cast<int64_t>(batch.indices.size());
    progress.Update(done, loader.WaitShare());
    progress.ThrowIfStopped();
  }
}

// The scores of all tokens of the sample, [N,T], four bytes each.
Tensor ScoresOf(Sample& sample, const Tensor& component, const RunOptions& run, int64_t done, Progress& progress) {
  std::vector<Tensor> scores;
  ForEachBatch(sample, run, done, progress,
               [&](const Tensor& tokens) { scores.push_back(TokenScores(tokens, component).to(at::kCPU)); });
  return scores.empty() ? at::empty({0, 0}) : at::cat(scores);
}

// The component the sample gives, and the scores of its tokens on it.
std::pair<ForegroundModel, Tensor> FitComponent(Sample& sample, const FitConfig& config, Progress& progress) {
  TokenStatistics statistics(sample.encoder->grid(), sample.encoder->token_width());
  const bool keep = sample.token_bytes() <= config.memory_mb * 1'000'000;
  progress.Begin("foreground fit", sample.size() * (keep ? 1 : 2), "images");
  std::vector<Tensor> kept;
  ForEachBatch(sample, config.run, 0, progress, [&](const Tensor& tokens) {
    statistics.Add(tokens);
    if (keep) kept.push_back(tokens.to(at::kCPU));
  });
  const PrincipalComponent pc = FirstComponent(statistics);
  ForegroundModel model;
  model.component = pc.component;
  model.mean = pc.mean;
  model.margin = pc.margin;
  model.variance_share = pc.variance_share;
  if (!keep) return {model, ScoresOf(sample, model.component, config.run, sample.size(), progress)};
  std::vector<Tensor> scores;
  for (const Tensor& tokens : kept) scores.push_back(TokenScores(tokens, model.component));
  return {model, at::cat(scores)};
}

// A component from elsewhere: its sign is chosen by the same rule as that of our own.
std::pair<ForegroundModel, Tensor> UseComponent(Sample& sample, const FitConfig& config, Progress& progress) {
  ForegroundModel model = ReadForegroundModel(config.component);
  CheckModelFits(model, config.component, sample.encoder->token_width(), sample.encoder->fingerprint(),
                 sample.encoder->name());
  progress.Begin("foreground fit", sample.size(), "images");
  Tensor scores = ScoresOf(sample, model.component, config.run, 0, progress);
  if (scores.numel() < 2) return {model, scores};
  const double margin = CentreMargin(scores.to(at::kDouble).mean(0), sample.encoder->grid());
  const double deviation = scores.to(at::kDouble).std().item<double>();
  model.margin = deviation > 0 ? std::abs(margin) / deviation : 0;
  if (margin < 0) {
    progress.Warn(Format("{} scores the border of the pictures higher than their centre: its sign is turned",
                         config.component.string()));
    model.component = -model.component;
    scores = -scores;
  }
  return {model, scores};
}

// The model that is there already, if it is of this request. A damaged file is made anew; that of something else stays.
std::optional<ForegroundModel> ModelOfRequest(const Path& file, const std::string& request) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  try {
    (void)ReadSafetensors(file);
  } catch (const Error&) {
    return std::nullopt;
  }
  ForegroundModel model = ReadForegroundModel(file);
  return model.request == request ? std::optional(std::move(model)) : std::nullopt;
}

FitSummary Summarise(const ForegroundModel& model, int64_t skipped, bool up_to_date) {
  return {.images = model.images,
          .skipped = skipped,
          .threshold = model.threshold.value_or(0),
          .margin = model.margin,
          .variance_share = model.variance_share,
          .up_to_date = up_to_date};
}

}  // namespace

FitSummary FitForeground(const FitConfig& config, Progress& progress) {
  RefuseToReplace(config.out);
  SweepPartFilesBeside({config.out});  // of a killed call
  Sample sample;
  sample.source = OpenSource(config.images);
  WarnOfOtherFormats(*sample.source, progress);
  sample.indices = DrawSample(sample.source->size(), config.sample, config.run.seed);
  const at::Device device = ChooseDevice(config.run.device);
  sample.encoder = Encoder::Open(config.encoder, device, ChooseCompute(config.run.precision, device));
  const Json request = {{"encoder", sample.encoder->fingerprint()},
                        {"images", sample.source->Fingerprint()},
                        {"sample", sample.indices.size()},
                        {"seed", config.run.seed},
                        {"share", config.share},
                        {"mode", EnumName(config.mode)},
                        {"precision", PrecisionName(sample.encoder->compute())},
                        {"component", config.component.empty() ? "" : FingerprintFile(config.component)}};
  const std::string fingerprint = Fingerprint(request.dump());
  const Path list = config.skipped.empty() ? config.out.parent_path() / "skipped.tsv" : config.skipped;
  RefuseToOverwrite(*sample.source, {config.out, list});
  RefuseToReplaceInput(config.out, {config.encoder, config.images, config.component});
  if (const auto there = ModelOfRequest(config.out, fingerprint)) {
    if (config.run.strict) RefuseSkipped(sample.size() - there->images, "this model", list);
    return Summarise(*there, sample.size() - there->images, /*up_to_date=*/true);
  }

  const auto write_skipped = [&] { sample.skipped.WriteShared(list, IdsOf(*sample.source, sample.indices)); };
  std::pair<ForegroundModel, Tensor> fitted;
  try {
    fitted = config.component.empty() ? FitComponent(sample, config, progress) : UseComponent(sample, config, progress);
  } catch (const Error&) {
    write_skipped();  // it may say why
    throw;
  }
  auto& [model, scores] = fitted;
  const c10::InferenceMode inference;
  model.threshold = config.mode == ThresholdMode::kQuantile ? ThresholdByShare(scores, config.share)
                                                            : ThresholdByHistogram(scores, config.share);
  model.share = config.share;
  model.mode = config.mode;
  model.images = scores.size(0);
  model.tokens = scores.numel();
  model.encoder = sample.encoder->fingerprint();
  model.encoder_name = sample.encoder->name();
  model.request = fingerprint;
  if (model.margin < kSureMargin) {
    progress.Warn(
        Format("the centre of the pictures scores only {:.2f} standard deviations above their border: foreground and "
               "background may be exchanged; look at a few masks (`genview foreground score --masks DIR`)",
               model.margin));
  }
  write_skipped();
  WriteForegroundModel(config.out, model);
  progress.End(Format("{} images, {} skipped; tokens are foreground above {:.4g} along the component", model.images,
                      sample.skipped.count(), *model.threshold));
  return Summarise(model, sample.skipped.count(), /*up_to_date=*/false);
}

}  // namespace genview
