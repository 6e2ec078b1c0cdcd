#include "genview/pretrain/pretrain.h"

#include <chrono>
#include <cmath>
#include <optional>

#include "genview/base/folder_lock.h"
#include "genview/base/hash.h"
#include "genview/data/generated_views.h"
#include "genview/data/loader.h"
#include "genview/pretrain/begin.h"
#include "genview/pretrain/online_knn.h"
#include "genview/pretrain/pair_weigher.h"
#include "genview/pretrain/trainer.h"
#include "genview/pretrain/weight_tally.h"
#include "genview/records/refuse_skipped.h"
#include "genview/ssl/collapse.h"
#include "genview/tensor/safetensors.h"
#include "genview/train/checkpoint.h"
#include "genview/train/event_log.h"

namespace genview {
namespace {

using Clock = std::chrono::steady_clock;

// What a run ends with, in the order in which it goes when another begins: the summary says that all is there.
constexpr const char* kResults[] = {"summary.json", "encoder.safetensors", "skipped.tsv"};

// A run that begins anew removes its result and moves its checkpoints, and could not be taken up again without them.
void RefuseOwnResult(const Path& encoder, const Path& folder, const char* key) {
  std::error_code code;
  const Path beside = encoder.has_parent_path() ? encoder.parent_path() : Path(".");
  if (encoder.empty() || (!std::filesystem::equivalent(encoder, folder / "encoder.safetensors", code) &&
                          !std::filesystem::equivalent(beside, folder / "checkpoints", code)))
    return;
  throw UsageError({.what = "this is the result of the very run",
                    .where = Format("key `{}`, {}", key, encoder.string()),
                    .next = "give another --out, or a copy of the file"});
}

std::string CountOf(int64_t count, const char* one, const char* many) {
  return Format("{} {}", count, count == 1 ? one : many);
}

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Where the pictures and views come from.
struct Data {
  std::shared_ptr<const ImageSource> real, training;  // training: with the extra pictures, if any
  std::shared_ptr<const GeneratedViews> views;        // that take the place of a view; may be null
  std::shared_ptr<const MaskFolder> masks;            // of `training`; may be null
  std::string fingerprint;

  explicit Data(const PretrainConfig& config) : real(OpenSource(config.data)), training(real) {
    fingerprint = real->Fingerprint();
    masks = MasksOf(config, *real);
    if (masks) fingerprint += masks->Fingerprint();
    if (config.pair.source == PairSource::kAugment) return;
    auto generated = GeneratedViews::Open(config.pair.views);
    fingerprint += generated->Fingerprint();
    if (config.pair.source == PairSource::kGenerated) views = generated;
    else training = ConcatSources(RepeatSource(real, config.pair.repeat), ViewsAsSource(generated));
  }
};

// view: 0 and 1 of a pair, 2 of the small crops, which show as little of a picture as the preset says.
AugmentConfig AugmentOf(const PretrainConfig& config, int view) {
  AugmentConfig augment = AugmentPreset(config.augmentation, view);
  augment.size = view < 2 ? config.size : config.swav.local_size;
  if (config.crop_min > 0 && view < 2) augment.scale_min = config.crop_min;
  if (config.interpolation == Interpolation::kBilinear) augment.filter = Filter::kBilinear;
  if (config.interpolation == Interpolation::kBicubic) augment.filter = Filter::kBicubic;
  if (config.jitter >= 0) augment.jitter_p = config.jitter;
  if (config.blur >= 0) augment.blur_p = config.blur;
  return augment;
}

// What the rows of the log are made of, summed since the last row; part of the checkpoint, so that a resumed run writes
// the same rows.
struct Window {
  double loss = 0, weight_std = 0;
  int64_t steps = 0, generated = 0, dropped = 0;  // pairs; dropped: below the floor of their quality
  WeightTally weights;
};

// What a step's parts tell beside their losses: places in the trainer's Tally. Whether to stop and whether to save is
// the same for all processes: they hear it with the step.
enum TallyPlace : size_t { kGenerated, kDropped, kStop, kSaveDue };

class Run {
 public:
  Run(const PretrainConfig& config, Progress& progress, Group& group);
  PretrainSummary Go();

 private:
  bool is_writer() const { return group_.rank() == 0; }  // of all files
  bool alone() const { return group_.size() == 1; }
  bool Finished();
  void CheckProcesses();
  void CountViews();
  void RemoveOldResults();
  void WarnOfLongWarmup() const;
  std::string OwnerOfResult() const;
  Path Aside(const std::string& owner) const;
  std::optional<Checkpoint> OwnCheckpoint();
  int64_t Resume(std::optional<Checkpoint> own);  // process 0's; returns its step, 0 without one
  void TrainEpoch(int64_t epoch);
  void TrainPart(const PairBatch& batch, const Tensor& weights);
  void TrainStep(PairBatch& batch);
  bool TalliesWeights() const { return weigher_ && data_.views; }  // without views there is one kind of pairs
  bool DropsPairs() const { return weigher_ && config_.quality.floor > kNoFloor; }
  void AfterStep(int64_t epoch, bool epoch_ends);
  void CompareProcesses();
  void WriteRow(int64_t epoch);
  void OnCollapse(const FeatureSpread& spread);
  void LookAtNeighbours(int64_t epoch);
  bool TimeToSave() const {
    return config_.checkpoint_minutes > 0 && SecondsSince(saved_) > 60 * config_.checkpoint_minutes;
  }
  bool CheckpointDue(int64_t epoch, bool epoch_ends) const;
  [[noreturn]] void FailDiverged(const char* what) const;
  void Save(int64_t epoch);
  void WriteEncoder();
  Json Metadata(int64_t epoch) const;

  const PretrainConfig config_;
  Progress& progress_;
  Group& group_;
  const Path folder_, checkpoints_;
  const at::Device device_;
  const at::ScalarType compute_;
  Data data_;
  SkippedLog skipped_;
  std::unique_ptr<PairLoader> loader_;  // after skipped_, which it writes to
  std::unique_ptr<PairWeigher> weigher_;
  OnlineKnn knn_;
  std::string fingerprint_;
  int64_t steps_per_epoch_ = 0;
  std::unique_ptr<TensorGroup> tensors_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<EventLog> log_;
  Window window_;
  WeightTally weights_;  // of the whole run
  Tally tally_{};        // of the latest step
  double lr_ = 0;        // likewise
  PretrainSummary summary_;
  double spread_ = -1;  // relative_std of the latest row that this process has written; -1: none yet
  bool warned_ = false;
  Clock::time_point row_start_ = Clock::now(), saved_ = Clock::now();
};

// Views of none of the pictures mean that the one or the other is not what was meant.
void Run::CountViews() {
  if (!data_.views) return;
  int64_t with = 0;
  for (int64_t i = 0; i < data_.real->size(); ++i) with += data_.views->Has(data_.real->item(i).id) ? 1 : 0;
  if (with == 0) {
    throw UsageError({.what = Format("there is a view of none of the {} pictures", data_.real->size()),
                      .where = Format("{}, key `pretrain.pair.views`", config_.pair.views),
                      .next = "name the views of these pictures: they are found by id, the path below the source"});
  }
  if (with < data_.real->size()) {
    progress_.Warn(Format("{} of {} pictures have no generated view: their pairs are two augmentations",
                          data_.real->size() - with, data_.real->size()));
  }
}

Run::Run(const PretrainConfig& config, Progress& progress, Group& group)
    : config_(config),
      progress_(progress),
      group_(group),
      folder_(config.out),
      checkpoints_(folder_ / "checkpoints"),
      device_(ChooseDevice(config.run.device)),
      compute_(ChooseCompute(config.run.precision, device_)),
      data_(config),
      knn_(data_.real, config.knn_images, config.run) {
  if (is_writer()) WarnOfOtherFormats(*data_.real, progress);
  if (data_.training->size() < config.batch) {
    throw UsageError({.what = Format("{} pictures do not fill one batch of {}", data_.training->size(), config.batch),
                      .where = config.data,
                      .next = "use a smaller `pretrain.batch` or more pictures"});
  }
  if (is_writer()) CountViews();
  PairLoaderConfig loading = LoaderOf(config);
  loading.masks = data_.masks;
  loading.share = {.of = config.accumulate, .first = group.rank() % config.accumulate, .every = group.size()};
  loader_ = std::make_unique<PairLoader>(data_.training, data_.views, loading, skipped_);
  steps_per_epoch_ = loader_->batches_per_epoch() / config.accumulate;
  RefuseOwnResult(config.init, folder_, "pretrain.init");
  if (config.quality.enabled) RefuseOwnResult(config.quality.encoder, folder_, "pretrain.quality.encoder");
  std::string inputs = WhatIsComputed(config).dump() + data_.fingerprint;
  if (!config.init.empty()) inputs += FingerprintFile(config.init);
  if (config.quality.enabled) {
    weigher_ = MakePairWeigher(config, data_.training, data_.views, device_, compute_);
    inputs += weigher_->fingerprint();
  }
  fingerprint_ = Fingerprint(inputs);
  if (config.knn_epochs > 0 && !knn_.possible())
    progress.Warn("the pictures have no labels, so nearest neighbours are not looked at");
}

bool Run::Finished() {
  const Path summary = folder_ / "summary.json", encoder = folder_ / "encoder.safetensors";
  if (!std::filesystem::exists(summary) || !std::filesystem::exists(encoder)) return false;
  const Json json = ReadJson(summary);
  const std::string where = summary.string();
  if (JsonString(json, "run", "", where) != fingerprint_) return false;
  summary_ = {.steps = JsonInt(json, "steps", 0, where),
              .epochs = JsonInt(json, "epochs", 0, where),
              .pairs_per_step = JsonInt(json, "pairs_per_step", 0, where),
              .images = JsonInt(json, "images", 0, where),
              .skipped = JsonInt(json, "skipped", 0, where),
              .loss = JsonDouble(json, "loss", 0, where),
              .feature_std = JsonDouble(json, "feature_std", 0, where),
              .effective_rank = JsonDouble(json, "effective_rank", 0, where),
              .knn_top1 = JsonDouble(json, "knn_top1", -1, where),
              .collapsed = JsonBool(json, "collapsed", false, where),
              .agreement = WeightAgreementFromJson(json.value("agreement", Json()), where),
              .encoder_fingerprint = JsonString(json, "encoder", "", where)};
  return summary_.encoder_fingerprint == FingerprintFile(encoder);
}

// Whether these processes can share this run.
void Run::CheckProcesses() {
  if (alone()) return;
  if (group_.size() > config_.accumulate) {
    int64_t parts = group_.size();
    while (parts < config_.batch / 2 && config_.batch % parts != 0) ++parts;
    const bool possible = config_.batch % parts == 0 && config_.batch / parts >= 2;
    std::string next =
        Format("a batch of {} is too small for so many: use a larger one, or start fewer processes", config_.batch);
    if (possible) {
      next = Format(
          "set it to {}: each part is {} pairs of the batch of {}, which norms and negatives see alone; or start at "
          "most {}",
          parts, config_.batch / parts, config_.batch, CountOf(config_.accumulate, "process", "processes"));
    }
    throw UsageError({.what = Format("{} processes cannot share a step of {}", group_.size(),
                                     CountOf(config_.accumulate, "part", "parts")),
                      .where = "key `pretrain.accumulate`",
                      .next = next});
  }
  const std::string pictures = std::to_string(data_.training->size());
  if (const std::string wanted = group_.Broadcast(pictures); wanted != pictures) {
    throw Error({.what = Format("process {} sees {} pictures, process 0 sees {}", group_.rank(), pictures, wanted),
                 .where = config_.data,
                 .next = "give all machines the same pictures"});
  }
}

// Which run the result that is here is of: what its encoder says, or, where that says nothing, its summary. "" without
// a result, "unknown" for one that no run of this program has made.
std::string Run::OwnerOfResult() const {
  const Path encoder = folder_ / "encoder.safetensors", summary = folder_ / "summary.json";
  const bool has_encoder = std::filesystem::exists(encoder);
  if (has_encoder) {
    try {
      const Json meta = ParseJson(ReadSafetensors(encoder).Metadata("genview", "{}"), encoder.string());
      return JsonString(meta, "run", "unknown", encoder.string());
    } catch (const Error&) {
      // Cut short, or no such file at all: the summary may know.
    }
  }
  if (std::filesystem::exists(summary)) return JsonString(ReadJson(summary), "run", "unknown", summary.string());
  return has_encoder ? "unknown" : "";
}

// A folder that is not there yet, for what another run has left.
Path Run::Aside(const std::string& owner) const {
  const std::string name = owner.find('/') == std::string::npos ? owner.substr(0, 8) : "unknown";
  Path aside = folder_ / Format("checkpoints-{}", name);
  for (int i = 2; std::filesystem::exists(aside); ++i) aside = folder_ / Format("checkpoints-{}-{}", name, i);
  return aside;
}

// The newest checkpoint of this run that is whole. Those of another run are moved aside with its log and its result,
// which may be all there is: into the folder of the checkpoints, the summary last, and then that folder, so that a kill
// in between loses nothing.
std::optional<Checkpoint> Run::OwnCheckpoint() {
  std::vector<std::string> damaged;
  std::optional<Checkpoint> latest = LatestCheckpoint(checkpoints_, &damaged);
  const std::string result = OwnerOfResult();
  std::string owner = result.empty() ? fingerprint_ : result;
  if (latest) owner = JsonString(latest->meta, "run", "unknown", latest->path.string());
  if (owner == fingerprint_) {
    if (!result.empty() && result != fingerprint_) {  // beside checkpoints of this run, whose log stays
      const Path aside = Aside(result);
      std::filesystem::create_directories(aside);
      for (auto name = std::rbegin(kResults); name != std::rend(kResults); ++name) {
        if (std::filesystem::exists(folder_ / *name)) std::filesystem::rename(folder_ / *name, aside / *name);
      }
      progress_.Warn(Format("the result found is not of this run: it is in {}", aside.string()));
    }
    for (const std::string& reason : damaged) progress_.Warn(Format("passed over {}", reason));
    return latest;
  }
  const Path aside = Aside(owner);
  std::filesystem::create_directories(checkpoints_);
  std::vector<const char*> names{"log.jsonl", kEventsFile};
  names.insert(names.end(), std::rbegin(kResults), std::rend(kResults));
  for (const char* name : names) {
    if (std::filesystem::exists(folder_ / name)) std::filesystem::rename(folder_ / name, checkpoints_ / name);
  }
  std::filesystem::rename(checkpoints_, aside);
  progress_.Warn(Format("settings or data differ from those of the {} found: the run begins anew, {} in {}",
                        latest ? "checkpoints" : "result", latest ? "they are" : "it is", aside.string()));
  return std::nullopt;
}

// A result of this run that is not whole (Finished) is made again. Before the log is begun anew, beside which it would
// be shown; the summary first, which is what says that all is there.
void Run::RemoveOldResults() {
  for (const char* name : kResults) std::filesystem::remove(folder_ / name);
}

// Of a long recipe with fewer epochs, say.
void Run::WarnOfLongWarmup() const {
  const Schedule schedule = ScheduleOf(config_, steps_per_epoch_);
  if (schedule.warmup_steps == 0 || schedule.warmup_steps < schedule.total_steps) return;
  progress_.Warn(
      Format("the warm-up of {:g} epochs does not end before the training of {}: the rate rises to {:.3g} of {:g} and "
             "never falls (`pretrain.warmup_epochs`)",
             config_.warmup_epochs, config_.epochs, schedule.At(schedule.total_steps - 1), config_.lr));
}

int64_t Run::Resume(std::optional<Checkpoint> own) {
  const std::string said = group_.Broadcast(own ? own->path.filename().string() : "");
  if (said.empty()) return 0;
  const Checkpoint checkpoint = own ? *std::move(own) : ReadCheckpoint(checkpoints_ / said);
  const std::string where = checkpoint.path.string();
  WeightReader reader(checkpoint.weights);
  trainer_->Load(reader, checkpoint.step);
  reader.Finish();
  const auto part = [&](const char* name) { return checkpoint.meta.value(name, Json::object()); };
  const Json window = part("window"), last = part("last"), skipped = part("skipped");
  window_ = {.loss = JsonDouble(window, "loss", 0, where),
             .weight_std = JsonDouble(window, "weight_std", 0, where),
             .steps = JsonInt(window, "steps", 0, where),
             .generated = JsonInt(window, "generated", 0, where),
             .dropped = JsonInt(window, "dropped", 0, where),
             .weights = WeightTally::FromJson(window.value("weights", Json()), where)};
  weights_ = WeightTally::FromJson(part("weights"), where);
  summary_.loss = JsonDouble(last, "loss", 0, where);
  summary_.feature_std = JsonDouble(last, "feature_std", 0, where);
  summary_.effective_rank = JsonDouble(last, "effective_rank", 0, where);
  summary_.knn_top1 = JsonDouble(last, "knn_top1", -1, where);
  summary_.collapsed = JsonBool(last, "collapsed", false, where);
  summary_.agreement = WeightAgreementFromJson(part("agreement"), where);
  for (const auto& [id, reason] : skipped.items()) {
    skipped_.Add(id, reason.is_string() ? reason.get<std::string>() : "unreadable");
  }
  if (config_.run.strict && skipped_.count() > 0) {
    const auto [id, reason] = skipped_.rows().front();
    throw Error({.what = Format("an earlier call could not read {} pictures, the first: {}", skipped_.count(), reason),
                 .where = Format("{}, named in {}", id, where),
                 .next = "mend or remove them; without --strict they are left out"});
  }
  return checkpoint.step;
}

PretrainSummary Run::Go() {
  std::optional<FolderLock> lock;
  if (is_writer()) {
    lock.emplace(folder_);  // for the whole group
    SweepPartFiles(folder_);
    SweepPartFiles(checkpoints_);
  }
  if (const std::string finished = group_.Broadcast(is_writer() && Finished() ? std::to_string(summary_.skipped) : "");
      !finished.empty()) {
    if (config_.run.strict) RefuseSkipped(std::stoll(finished), "this pretraining", folder_ / "skipped.tsv");
    return summary_;
  }
  CheckProcesses();
  if (weigher_) {  // what it prepares is a file, which process 0 makes and the others read
    if (is_writer()) weigher_->Prepare(progress_);
    group_.Broadcast("");
    if (!is_writer()) weigher_->Prepare(progress_);
  }
  std::optional<Checkpoint> own;
  if (is_writer()) own = OwnCheckpoint();
  tensors_ = ConnectTensors(group_);
  trainer_ = std::make_unique<Trainer>(config_, steps_per_epoch_, device_, compute_, *tensors_);
  const int64_t done = Resume(std::move(own));
  // Killed between its last checkpoint and the removal of the one before.
  if (is_writer() && done == trainer_->total_steps()) KeepNewestCheckpoints(checkpoints_, 1);
  if (is_writer() && config_.quality.enabled && config_.quality.features == QualityFeatures::kCached &&
      summary_.agreement.pairs == 0) {
    summary_.agreement = MeasureWeightAgreement(config_, *weigher_, data_.training, data_.views, data_.masks, device_,
                                                compute_, progress_);
  }
  if (done == 0 && !config_.init.empty()) BeginEncoderFrom(trainer_->method(), config_.init);
  if (is_writer()) RemoveOldResults();
  if (is_writer()) log_ = std::make_unique<EventLog>(folder_, done > 0 ? done : -1);
  if (is_writer()) WarnOfLongWarmup();
  if (const std::string slow = SlowPrecision(compute_, device_); is_writer() && !slow.empty()) progress_.Warn(slow);
  progress_.Begin("pretrain", trainer_->total_steps(), "steps");
  row_start_ = saved_ = Clock::now();
  for (int64_t epoch = done / steps_per_epoch_; epoch < config_.epochs; ++epoch) TrainEpoch(epoch);
  if (!is_writer()) return summary_;
  WriteEncoder();
  progress_.End(Format("{}, loss {:.4g}, {} images skipped", CountOf(config_.epochs, "epoch", "epochs"), summary_.loss,
                       summary_.skipped));
  return summary_;
}

void Run::TrainEpoch(int64_t epoch) {
  const int64_t first = trainer_->steps() - epoch * steps_per_epoch_;
  loader_->Start(epoch, first * config_.accumulate);
  PairBatch batch;
  for (int64_t i = first; i < steps_per_epoch_; ++i) {
    TrainStep(batch);
    AfterStep(epoch, i + 1 == steps_per_epoch_);
  }
}

void Run::TrainPart(const PairBatch& batch, const Tensor& weights) {
  Tally tally{};
  tally[kGenerated] = batch.generated;
  if (DropsPairs()) tally[kDropped] = (weights == 0).sum().item<int64_t>();
  tally[kStop] = progress_.Stopped() ? 1 : 0;
  tally[kSaveDue] = is_writer() && TimeToSave() ? 1 : 0;
  const Tensor levels = TalliesWeights() ? LevelsOfPairs(batch, *data_.training, *data_.views) : Tensor();
  trainer_->Accumulate(batch.view1, batch.view2, weights, batch.more, tally, levels);
}

void Run::TrainStep(PairBatch& batch) {
  const auto next = [&](PairBatch& into) { GENVIEW_CHECK(loader_->Next(into), "the loader ended before the epoch"); };
  const int64_t first = group_.rank(), every = group_.size();
  if (weigher_ && config_.quality.over == QualityOver::kBatch) {
    std::vector<PairBatch> mine;
    for (int64_t part = first; part < config_.accumulate; part += every) next(mine.emplace_back());
    const std::vector<Tensor> weights = WeighTogether(*weigher_, mine, config_.accumulate, *tensors_);
    for (size_t i = 0; i < mine.size(); ++i) TrainPart(mine[i], weights[i]);
  } else {
    for (int64_t part = first; part < config_.accumulate; part += every) {
      next(batch);
      TrainPart(batch, weigher_ ? weigher_->Weigh(batch) : Tensor());
    }
  }
  const StepReport report = trainer_->Step();
  tally_ = report.tally;
  lr_ = report.lr;
  window_.generated += tally_[kGenerated];
  window_.dropped += tally_[kDropped];
  if (TalliesWeights()) {
    for (WeightTally* tally : {&window_.weights, &weights_}) tally->Add(report.weights, report.marks);
  }
  const double loss = report.loss.item<double>();
  if (!std::isfinite(loss)) FailDiverged("the loss");
  window_.loss += loss;
  if (report.weight_std.defined()) window_.weight_std += report.weight_std.item<double>();
  ++window_.steps;
}

void Run::FailDiverged(const char* what) const {
  const auto latest = LatestCheckpoint(checkpoints_);
  throw Error(
      {.what = Format("{} is no longer a number at step {}", what, trainer_->steps()),
       .where = latest ? Format("{}, after {}", folder_.string(), latest->path.filename().string()) : folder_.string(),
       .next = Format("use a smaller `pretrain.lr` (now {:g}), a warm-up, or `--precision fp32`", config_.lr)});
}

void Run::AfterStep(int64_t epoch, bool epoch_ends) {
  const int64_t step = trainer_->steps();
  if (is_writer() && (step % config_.log_steps == 0 || step == trainer_->total_steps())) WriteRow(epoch);
  if (is_writer() && epoch_ends && config_.knn_epochs > 0 && (epoch + 1) % config_.knn_epochs == 0 && knn_.possible())
    LookAtNeighbours(epoch);
  const bool stopped = alone() ? progress_.Stopped() : tally_[kStop] > 0;
  if (stopped || CheckpointDue(epoch, epoch_ends)) Save(epoch);
  if (stopped) throw Interrupted();
  const double loss =
      window_.steps > 0 ? window_.loss / static_cast<double>(window_.steps) : summary_.loss;  // of the row to come
  progress_.Update(step, loader_->WaitShare(),
                   Format("epoch {}, loss {:.4g}{}", epoch + 1, loss,
                          spread_ < 0 ? std::string() : Format(", spread {:.2f}", spread_)));
}

void Run::WriteRow(int64_t epoch) {
  const FeatureSpread spread = MeasureSpread(trainer_->projections());
  const auto steps = static_cast<double>(window_.steps);
  const double pairs = steps * static_cast<double>(config_.batch);
  summary_.loss = window_.loss / steps;
  summary_.feature_std = spread.std;
  summary_.effective_rank = spread.effective_rank;
  spread_ = spread.relative_std;
  summary_.collapsed = spread.collapsed();
  Json row = {{"epoch", epoch},
              {"loss", summary_.loss},
              {"lr", lr_},
              {"images_per_s", 2 * pairs / std::max(1e-9, SecondsSince(row_start_))},
              {"data_wait", loader_->WaitShare()},
              {"feature_std", spread.std},
              {"relative_std", spread.relative_std},
              {"effective_rank", spread.effective_rank}};
  if (weigher_) row["weight_std"] = window_.weight_std / steps;
  if (DropsPairs()) row["dropped"] = static_cast<double>(window_.dropped) / pairs;
  if (window_.weights.generated().pairs > 0) row["weight_generated"] = window_.weights.generated().Mean();
  if (window_.weights.augmented().pairs > 0) row["weight_augmented"] = window_.weights.augmented().Mean();
  if (data_.views) row["generated"] = static_cast<double>(window_.generated) / pairs;
  log_->Write(trainer_->steps(), row);
  if (spread.collapsed() && epoch > 0) OnCollapse(spread);
  window_ = {};
  row_start_ = Clock::now();
}

void Run::OnCollapse(const FeatureSpread& spread) {
  const std::string what = Format(
      "the features have collapsed (deviation {:.2g} of what a spread gives, effective rank {:.1f}): they no "
      "longer tell pictures apart",
      spread.relative_std, spread.effective_rank);
  if (config_.stop_when_collapsed) {
    throw Error({.what = what,
                 .where = Format("{}, step {}", folder_.string(), trainer_->steps()),
                 .next = "use a smaller `pretrain.lr`, a longer warm-up or a larger batch; without "
                         "`pretrain.stop_when_collapsed` the training goes on"});
  }
  if (!warned_) progress_.Warn(what);
  warned_ = true;
}

void Run::LookAtNeighbours(int64_t epoch) {
  const auto encoder = EncoderOf(trainer_->method().encoder(), PreprocessOf(config_), fingerprint_, device_, compute_);
  summary_.knn_top1 = knn_.Top1Percent(*encoder, skipped_);
  log_->Write(trainer_->steps(), {{"epoch", epoch}, {"knn_top1", summary_.knn_top1}});
  row_start_ = Clock::now();
}

bool Run::CheckpointDue(int64_t epoch, bool epoch_ends) const {
  const int64_t step = trainer_->steps();
  return step == trainer_->total_steps() || (config_.checkpoint_steps > 0 && step % config_.checkpoint_steps == 0) ||
         (alone() ? TimeToSave() : tally_[kSaveDue] > 0) ||
         (epoch_ends && config_.checkpoint_epochs > 0 && (epoch + 1) % config_.checkpoint_epochs == 0);
}

Json Run::Metadata(int64_t epoch) const {
  return {{"format", 1},
          {"kind", "pretrain"},
          {"backbone", FieldsToJson(BackboneOf(config_))},
          {"preprocess", PreprocessOf(config_).ToJson()},
          {"method", EnumName(config_.method)},
          {"epoch", epoch},
          {"run", fingerprint_}};
}

// What the others have skipped is skipped, and all have come to the same weights. By tensors: words (group.h) end at
// once where the user has asked to stop, and then this is what there is to do before.
void Run::CompareProcesses() {
  if (alone()) return;
  const std::vector<std::string> all =
      GatherTexts(*tensors_, Json{{"weights", trainer_->WeightSum()}, {"skipped", SkippedToText(skipped_)}}.dump());
  uint64_t weights = 0;
  for (size_t r = 0; r < all.size(); ++r) {
    const Json said = ParseJson(all[r], "words of another process");
    AddSkipped(said.at("skipped").get<std::string>(), skipped_);
    const auto own = said.at("weights").get<uint64_t>();
    if (r == 0) weights = own;
    if (own == weights) continue;
    throw Error(
        {.what =
             Format("the weights of process {} are no longer those of process 0, after step {}", r, trainer_->steps()),
         .where = folder_.string(),
         .next = "start all processes on machines of one kind, with the same number of threads (OMP_NUM_THREADS)"});
  }
}

void Run::Save(int64_t epoch) {
  // The statistics of norms overflow before the loss does. The checkpoint before can be read again.
  if (!trainer_->Finite()) FailDiverged("a weight");
  CompareProcesses();
  if (!is_writer()) return;
  Json meta = Metadata(epoch);
  meta["config"] = WhatIsComputed(config_);
  meta["window"] = {{"loss", window_.loss},
                    {"weight_std", window_.weight_std},
                    {"steps", window_.steps},
                    {"generated", window_.generated}};
  if (DropsPairs()) meta["window"]["dropped"] = window_.dropped;
  if (TalliesWeights()) {
    meta["window"]["weights"] = window_.weights.ToJson();
    meta["weights"] = weights_.ToJson();
  }
  if (summary_.agreement.pairs > 0) meta["agreement"] = WeightAgreementToJson(summary_.agreement);
  meta["last"] = {{"loss", summary_.loss},
                  {"feature_std", summary_.feature_std},
                  {"effective_rank", summary_.effective_rank},
                  {"knn_top1", summary_.knn_top1},
                  {"collapsed", summary_.collapsed}};
  meta["skipped"] = Json::object();
  for (const auto& [id, reason] : skipped_.rows()) meta["skipped"][id] = reason;
  log_->Sync();
  // At the end one is enough, and which one came before it was a matter of the clock.
  SaveCheckpoint(checkpoints_, trainer_->steps(), trainer_->State(), meta,
                 trainer_->steps() == trainer_->total_steps() ? 1 : config_.keep);
  saved_ = Clock::now();
}

void Run::WriteEncoder() {
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const auto& pair : NamedTensors(trainer_->method().Weights())) {
    if (pair.first.starts_with("encoder.")) tensors.push_back(pair);
  }
  Json meta = Metadata(config_.epochs - 1);
  meta["step"] = trainer_->steps();
  const Path path = folder_ / "encoder.safetensors";
  WriteSafetensors(path, tensors, CheckpointMetadata(tensors, meta));
  skipped_.Write(folder_ / "skipped.tsv");
  summary_.steps = trainer_->steps();
  summary_.epochs = config_.epochs;
  summary_.pairs_per_step = config_.batch;
  summary_.images = data_.training->size();
  summary_.skipped = skipped_.count();
  summary_.encoder_fingerprint = FingerprintFile(path);
  Json json = PretrainSummaryToJson(summary_);
  json["run"] = fingerprint_;
  if (TalliesWeights()) json["weights"] = weights_.ToJson();
  WriteJson(folder_ / "summary.json", json);
}

}  // namespace

PairLoaderConfig LoaderOf(const PretrainConfig& config) {
  PairLoaderConfig loader;
  loader.view1 = AugmentOf(config, 0);
  loader.view2 = AugmentOf(config, 1);
  loader.local_crops = config.method == MethodKind::kSwav ? config.swav.local_crops : 0;
  loader.local = AugmentOf(config, 2);
  loader.batch = config.batch / config.accumulate;
  loader.threads = config.run.threads;
  loader.seed = config.run.seed;
  loader.strict = config.run.strict;
  const Preprocess preprocess = PreprocessOf(config);
  loader.mean = preprocess.mean;
  loader.std = preprocess.std;
  loader.generated_probability = config.pair.source == PairSource::kGenerated ? config.pair.probability : 0;
  loader.views_used = config.pair.per_image;
  loader.more_views = std::max<int64_t>(0, config.positives - 2);
  loader.crop = config.crop.rule;
  return loader;
}

std::shared_ptr<const MaskFolder> MasksOf(const PretrainConfig& config, const ImageSource& images) {
  if (config.crop.rule.draw == CropDraw::kAnywhere) return nullptr;
  return MaskFolder::Open(config.crop.masks, images)->Repeated(config.pair.repeat);
}

Json PretrainSummaryToJson(const PretrainSummary& s) {
  Json json = {{"steps", s.steps},
               {"epochs", s.epochs},
               {"pairs_per_step", s.pairs_per_step},
               {"images", s.images},
               {"skipped", s.skipped},
               {"loss", s.loss},
               {"feature_std", s.feature_std},
               {"effective_rank", s.effective_rank},
               {"knn_top1", s.knn_top1},
               {"collapsed", s.collapsed},
               {"encoder", s.encoder_fingerprint}};
  if (s.agreement.pairs > 0) json["agreement"] = WeightAgreementToJson(s.agreement);
  return json;
}

PretrainSummary Pretrain(const PretrainConfig& config, Progress& progress, Group& group) {
  CheckRequired(config, {"recipe", "pretrain"});
  return Run(Resolved(config), progress, group).Go();
}

}  // namespace genview
