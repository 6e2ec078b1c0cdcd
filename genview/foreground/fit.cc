#include "genview/foreground/fit.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/loader.h"
#include "genview/foreground/fit_journal.h"
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

// One walk over the sample for the sums, and where the tokens are not kept a second one for their scores. Both go on
// where an earlier call was stopped.
class Fit {
 public:
  Fit(const FitConfig& config, Sample& sample, const std::string& request, Progress& progress)
      : config_(config),
        sample_(sample),
        progress_(progress),
        batch_(EncodeBatchSize(*sample.encoder, config.run.batch)),
        small_(sample.token_bytes() <= config.memory_mb * 1'000'000),
        journal_(config.out, Format("{} {}", request, batch_), config.save_seconds),
        state_{.statistics = TokenStatistics(sample.encoder->grid(), sample.encoder->token_width()), .scores = {}} {
    journal_.Read(state_, sample.skipped, sample.size(), sample.encoder->device());
  }

  // The component the sample gives, and the scores of its tokens on it.
  std::pair<ForegroundModel, Tensor> FindComponent();
  // A component from elsewhere: its sign is chosen by the same rule as that of our own.
  std::pair<ForegroundModel, Tensor> TakeComponent();
  void Finish() const { journal_.Remove(); }  // the model is there

 private:
  // `use` gets the tokens of each batch of the pictures [begin, end), [N,T,C] fp32 on the encoder's device, and the
  // picture after it.
  void ForEachBatch(int64_t begin, int64_t end, const std::function<void(const Tensor& tokens, int64_t next)>& use);
  void Score(const Tensor& component, int64_t end);  // of the pictures before `end`

  const FitConfig& config_;
  Sample& sample_;
  Progress& progress_;
  const int64_t batch_;
  const bool small_;  // tokens are kept
  FitJournal journal_;
  FitState state_;
};

void Fit::ForEachBatch(int64_t begin, int64_t end, const std::function<void(const Tensor& tokens, int64_t next)>& use) {
  if (begin >= end) return;
  const c10::InferenceMode inference;
  const std::vector<int64_t>& all = sample_.indices;
  EncodeLoader loader(sample_.source, {all.begin() + begin, all.begin() + end}, sample_.encoder->preprocess(), batch_,
                      config_.run.threads, sample_.skipped, config_.run.strict);
  try {
    for (EncodeBatch batch; loader.Next(batch);) {
      const auto last = std::lower_bound(all.begin(), all.end(), batch.indices.back()) - all.begin();
      use(sample_.encoder->Encode(batch.pixels, /*tokens=*/true).tokens, std::min(end, (last / batch_ + 1) * batch_));
      journal_.SaveSometimes(state_, sample_.skipped);
      progress_.Update(state_.summed + state_.scored, loader.WaitShare());
      progress_.ThrowIfStopped();
    }
  } catch (const Interrupted&) {
    journal_.Save(state_, sample_.skipped);
    throw;
  }
}

// On the processor where tokens are kept, too, so that a score is the same whether they were or are encoded again.
void Fit::Score(const Tensor& component, int64_t end) {
  ForEachBatch(state_.scored, end, [&](const Tensor& tokens, int64_t next) {
    state_.scores.push_back(TokenScores(small_ ? tokens.to(at::kCPU) : tokens, component).to(at::kCPU));
    state_.scored = next;
  });
  state_.scored = std::max(state_.scored, end);
}

std::pair<ForegroundModel, Tensor> Fit::FindComponent() {
  const int64_t kept_from = small_ ? state_.summed : sample_.size();
  progress_.Begin("foreground fit", sample_.size() + kept_from, "images");
  std::vector<Tensor> kept;
  ForEachBatch(state_.summed, sample_.size(), [&](const Tensor& tokens, int64_t next) {
    state_.statistics.Add(tokens);
    state_.summed = next;
    if (small_) kept.push_back(tokens.to(at::kCPU));
  });
  state_.summed = sample_.size();
  const PrincipalComponent pc = FirstComponent(state_.statistics);
  ForegroundModel model;
  model.component = pc.component;
  model.mean = pc.mean;
  model.margin = pc.margin;
  model.variance_share = pc.variance_share;
  Score(model.component, kept_from);
  for (const Tensor& tokens : kept) state_.scores.push_back(TokenScores(tokens, model.component));
  return {model, state_.Scores()};
}

std::pair<ForegroundModel, Tensor> Fit::TakeComponent() {
  ForegroundModel model = ReadForegroundModel(config_.component);
  CheckModelFits(model, config_.component, sample_.encoder->token_width(), sample_.encoder->fingerprint(),
                 sample_.encoder->name());
  progress_.Begin("foreground fit", sample_.size(), "images");
  Score(model.component, sample_.size());
  Tensor scores = state_.Scores();
  if (scores.numel() < 2) return {model, scores};
  const double margin = CentreMargin(scores.to(at::kDouble).mean(0), sample_.encoder->grid());
  const double deviation = scores.to(at::kDouble).std().item<double>();
  model.margin = deviation > 0 ? std::abs(margin) / deviation : 0;
  if (margin < 0) {
    progress_.Warn(Format("{} scores the border of the pictures higher than their centre: its sign is turned",
                          config_.component.string()));
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
  Fit fit(config, sample, fingerprint, progress);
  if (const auto there = ModelOfRequest(config.out, fingerprint)) {
    fit.Finish();  // an earlier call was killed before
    if (config.run.strict) RefuseSkipped(sample.size() - there->images, "this model", list);
    return Summarise(*there, sample.size() - there->images, /*up_to_date=*/true);
  }

  const auto write_skipped = [&] { sample.skipped.WriteShared(list, IdsOf(*sample.source, sample.indices)); };
  std::pair<ForegroundModel, Tensor> fitted;
  try {
    fitted = config.component.empty() ? fit.FindComponent() : fit.TakeComponent();
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
  if (config.run.strict) RefuseSkipped(sample.skipped.count(), "this model", list);  // what an earlier call left out
  WriteForegroundModel(config.out, model);
  fit.Finish();
  progress.End(Format("{} images, {} skipped; tokens are foreground above {:.4g} along the component", model.images,
                      sample.skipped.count(), *model.threshold));
  return Summarise(model, sample.skipped.count(), /*up_to_date=*/false);
}

}  // namespace genview
