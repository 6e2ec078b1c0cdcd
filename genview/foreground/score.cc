#include "genview/foreground/score.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <set>
#include <span>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/loader.h"
#include "genview/data/masks.h"
#include "genview/data/source.h"
#include "genview/foreground/mask.h"
#include "genview/foreground/pca.h"
#include "genview/foreground/score_files.h"
#include "genview/models/encoder.h"
#include "genview/records/refuse_skipped.h"

namespace genview {
namespace {

// As seen from the table, so that a run folder can be moved or copied.
std::string MasksPlace(const ScoreConfig& config) {
  const Path place = config.masks.lexically_relative(config.out.parent_path());
  return (place.empty() ? config.masks : place).string();
}

// Everything a picture's row, mask and truth need, and nothing that changes.
struct Scorer {
  Scorer(const ScoreConfig& c, std::shared_ptr<const ImageSource> s, std::shared_ptr<const Encoder> e)
      : config(c), source(std::move(s)), encoder(std::move(e)) {}

  const ScoreConfig& config;
  std::shared_ptr<const ImageSource> source;
  std::shared_ptr<const Encoder> encoder;
  Tensor component;
  double threshold = 0;
  bool below = false;              // foreground scores at most the threshold
  std::vector<std::string> masks;  // file names by index; empty: none wanted

  std::vector<ScoredImage> Score(const EncodeBatch& batch) const;
};

// What is done per picture runs on all cores; each works on its own row.
std::vector<ScoredImage> Scorer::Score(const EncodeBatch& batch) const {
  const Tensor tokens = encoder->Encode(batch.pixels, /*tokens=*/true).tokens;
  const Tensor scores = TokenScores(tokens, component);
  if (!at::isfinite(scores).all().item<bool>()) {  // would be counted as background
    throw Error({.what = "scores of the encoder's tokens are NaN or infinity",
                 .where = config.encoder.string(),
                 .next = "check the encoder and the foreground model; `--precision fp32` rules out overflow"});
  }
  const Tensor foreground =
      (below ? scores <= threshold : scores > threshold).to(at::kCPU, at::kByte).contiguous();  // [N,T]
  const auto width = static_cast<size_t>(foreground.size(1));
  std::vector<ScoredImage> rows(batch.indices.size());
  at::parallel_for(0, static_cast<int64_t>(rows.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto slot = static_cast<size_t>(i);
      const std::span<const uint8_t> map(foreground.const_data_ptr<uint8_t>() + slot * width, width);
      ScoredImage& row = rows[slot];
      row.index = batch.indices[slot];
      row.tokens = std::accumulate(map.begin(), map.end(), int64_t{0});
      const Outcome<GrayImage> truth = source->ReadMask(row.index);
      if (masks.empty() && !truth) continue;
      const GrayImage mask =
          MaskOfPicture(map, encoder->grid(), encoder->preprocess(), batch.widths[slot], batch.heights[slot]);
      if (!masks.empty()) WriteFileUnsynced(config.masks / masks[static_cast<size_t>(row.index)], EncodePng(mask));
      if (!truth || truth->width != mask.width || truth->height != mask.height) continue;
      row.overlap = MaskOverlap(mask, *truth);
      const auto on =
          std::count_if(truth->pixels.begin(), truth->pixels.end(), [](uint8_t value) { return value != 0; });
      row.truth = static_cast<double>(on) / static_cast<double>(std::max<size_t>(1, truth->pixels.size()));
    }
  });
  return rows;
}

// What the rows depend on; another answer means that rows already there are of no use.
std::string RequestOf(const ScoreConfig& config, const Scorer& scorer) {
  Json request = {{"format", 2},
                  {"model", FingerprintFile(config.model)},
                  {"encoder", scorer.encoder->fingerprint()},
                  {"images", scorer.source->Fingerprint()},
                  {"source", config.images},
                  {"precision", PrecisionName(scorer.encoder->compute())},
                  {"levels", config.levels}};
  if (!config.threshold.empty()) request["threshold"] = scorer.threshold;
  if (scorer.below) request["side"] = EnumName(config.side);
  return Fingerprint(request.dump());
}

// True when no mask is wanted, or every picture of the table has its own.
bool MasksAreThere(const Scorer& scorer, const Json& summary) {
  if (scorer.masks.empty()) return true;
  if (summary.value("masks", "") != MasksPlace(scorer.config)) return false;
  std::set<std::string> scored;
  for (const ForegroundRow& row : ReadForegroundTable(scorer.config.out)) scored.insert(row.id);
  for (int64_t i = 0; i < scorer.source->size(); ++i) {
    const Path mask = scorer.config.masks / scorer.masks[static_cast<size_t>(i)];
    if (scored.count(scorer.source->item(i).id) != 0 && !std::filesystem::exists(mask)) return false;
  }
  return true;
}

std::vector<ForegroundRow> RowsOf(const Scorer& scorer, const std::vector<ScoredImage>& images) {
  std::vector<ForegroundRow> rows;
  const auto places = static_cast<double>(scorer.encoder->grid() * scorer.encoder->grid());
  for (const ScoredImage& image : images) {
    const SourceItem& item = scorer.source->item(image.index);
    const double ratio = static_cast<double>(image.tokens) / places;
    rows.push_back(
        {.id = item.id, .path = item.path, .ratio = ratio, .noise_level = NoiseLevelFor(ratio, scorer.config.levels)});
  }
  return rows;
}

ScoreSummary Summarise(const std::vector<ForegroundRow>& rows, const std::vector<ScoredImage>& images,
                       const std::vector<int64_t>& levels, int64_t skipped) {
  ScoreSummary summary;
  summary.images = static_cast<int64_t>(rows.size());
  summary.skipped = skipped;
  for (const int64_t level : levels) summary.per_level[level] = 0;
  double overlap = 0;
  std::vector<double> ratios, truths;
  for (const ForegroundRow& row : rows) {
    summary.mean_ratio += row.ratio / static_cast<double>(rows.size());
    ++summary.per_level[row.noise_level];
  }
  for (size_t i = 0; i < images.size(); ++i) {
    if (!images[i].overlap || !images[i].truth) continue;
    overlap += *images[i].overlap;
    ratios.push_back(rows[i].ratio);
    truths.push_back(*images[i].truth);
  }
  summary.with_truth = static_cast<int64_t>(ratios.size());
  if (summary.with_truth > 0) summary.truth_overlap = overlap / static_cast<double>(summary.with_truth);
  if (summary.with_truth > 2) summary.truth_spearman = Spearman(ratios, truths);
  return summary;
}

Json SummaryToJson(const ScoreSummary& summary, const ScoreConfig& config, const Scorer& scorer) {
  Json levels = Json::object();
  for (const auto& [level, count] : summary.per_level) levels[std::to_string(level)] = count;
  Json json = {{"images", summary.images},
               {"skipped", summary.skipped},
               {"mean_foreground_ratio", summary.mean_ratio},
               {"images_per_level", levels}};
  if (summary.truth_overlap) json["images_with_truth"] = summary.with_truth;
  if (summary.truth_overlap) json["mean_overlap_with_truth"] = *summary.truth_overlap;
  if (summary.truth_spearman) json["spearman_with_truth"] = *summary.truth_spearman;
  json["threshold"] = scorer.threshold;
  json["encoder"] = scorer.encoder->fingerprint();
  if (!config.masks.empty()) json["masks"] = MasksPlace(config);
  return json;
}

ScoreSummary SummaryFromJson(const Json& json, const std::string& where) {
  ScoreSummary summary;
  summary.images = JsonInt(json, "images", 0, where);
  summary.skipped = JsonInt(json, "skipped", 0, where);
  summary.mean_ratio = JsonDouble(json, "mean_foreground_ratio", 0, where);
  const Json levels = json.value("images_per_level", Json::object());
  for (const auto& [level, count] : levels.items()) {
    int64_t number = 0;
    if (ParseInt(level, number) && count.is_number_integer()) summary.per_level[number] = count.get<int64_t>();
  }
  summary.with_truth = JsonInt(json, "images_with_truth", 0, where);
  if (json.contains("spearman_with_truth")) summary.truth_spearman = JsonDouble(json, "spearman_with_truth", 0, where);
  if (json.contains("mean_overlap_with_truth"))
    summary.truth_overlap = JsonDouble(json, "mean_overlap_with_truth", 0, where);
  return summary;
}

double ThresholdOf(const ScoreConfig& config, const ForegroundModel& model) {
  if (config.threshold.empty()) return model.Threshold(config.model);
  double threshold = 0;
  if (ParseDouble(config.threshold, threshold) && std::isfinite(threshold)) return threshold;
  throw UsageError({.what = Format("`{}` is not a threshold", config.threshold),
                    .where = "threshold",
                    .next = "give a finite number, such as -4.18"});
}

Scorer OpenScorer(const ScoreConfig& config) {
  if (!config.masks.empty()) RefuseAmongPictures(config.images, config.masks);
  const at::Device device = ChooseDevice(config.run.device);
  Scorer scorer(config, OpenSource(config.images),
                Encoder::Open(config.encoder, device, ChooseCompute(config.run.precision, device)));
  const ForegroundModel model = ReadForegroundModel(config.model);
  CheckModelFits(model, config.model, scorer.encoder->token_width(), scorer.encoder->fingerprint(),
                 scorer.encoder->name());
  scorer.component = model.component.to(device);
  scorer.threshold = ThresholdOf(config, model);
  scorer.below = config.side == ForegroundSide::kBelow;
  if (config.masks.empty()) return scorer;
  scorer.masks = MaskNames(IdsOf(*scorer.source));
  std::filesystem::create_directories(config.masks);  // also where this process has no mask to write
  return scorer;
}

// What one process does of the work of all: the same calls in the same order in each.
class ScoreJob {
 public:
  ScoreJob(const ScoreConfig& config, Progress& progress, Group& group)
      : config_(config),
        progress_(progress),
        group_(group),
        scorer_(OpenScorer(config)),
        request_(RequestOf(config, scorer_)),
        files_(config.out, request_),
        total_(scorer_.source->size()) {
    if (group.rank() == 0) WarnOfOtherFormats(*scorer_.source, progress);
  }

  bool Plan();              // false: all is there already
  ScoreSummary Finished();  // of what is there; in process 0
  void ScoreShare();
  ScoreSummary Finish();  // process 0 writes the table of all shares; the summary is empty in the others

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr auto kBetweenSyncs = std::chrono::seconds(5);

  // What a journal's rows are of.
  std::string RowsKey() const { return request_ + MasksPlace(config_); }
  Path SkippedFile() const {
    return config_.skipped.empty() ? config_.out.parent_path() / "skipped.tsv" : config_.skipped;
  }
  void SyncMasks() const;

  const ScoreConfig& config_;
  Progress& progress_;
  Group& group_;
  const Scorer scorer_;
  std::string request_;
  const ScoreFiles files_;
  const int64_t total_;
  int64_t batch_ = 0, first_ = 0;        // the first picture that is left
  std::optional<ScoreJournal> journal_;  // of process 0; alone, it is that of its share, too
  SkippedLog skipped_;
  std::vector<ScoredImage> images_;  // of the share
};

// Process 0 says what is to be done: its machine may have another natural batch and precision than the others'.
bool ScoreJob::Plan() {
  Json plan = {{"request", request_},
               {"batch", EncodeBatchSize(*scorer_.encoder, config_.run.batch)},
               {"finished", false},
               {"first", 0}};
  if (group_.rank() == 0) {
    if (const auto summary = files_.Finished(); summary && MasksAreThere(scorer_, *summary)) {
      plan["finished"] = true;
      if (!scorer_.masks.empty()) WriteMaskIndex(config_.masks, IdsOf(*scorer_.source));  // of an older version's masks
    } else {
      std::vector<Path> masks;
      for (const std::string& name : scorer_.masks) masks.push_back(config_.masks / name);
      RefuseToOverwrite(*scorer_.source, masks);
      RefuseToOverwrite(*scorer_.source, {config_.out, files_.summary_path(), SkippedFile()});
      for (const Path& file : {config_.out, files_.summary_path()})
        RefuseToReplaceInput(file, {config_.encoder, config_.images, config_.model});
      files_.RefuseForeignSummary();
      SweepPartFilesBeside(masks);  // of a killed call
      SweepPartFilesBeside({config_.out});
      if (!masks.empty()) {
        files_.ForgetMasks(MasksPlace(config_));
        WriteMaskIndex(config_.masks, IdsOf(*scorer_.source));
      }
      journal_.emplace(files_.journal_path(), RowsKey(), skipped_);
      plan["first"] = journal_->next();
    }
  }
  plan = ParseJson(group_.Broadcast(plan.dump()), "plan of process 0");
  request_ = plan["request"].get<std::string>();  // under which process 0 looks for the shares
  batch_ = plan["batch"].get<int64_t>();
  first_ = BeginOfUnit(plan["first"].get<int64_t>(), total_, batch_);
  return plan["finished"] == false;
}

ScoreSummary ScoreJob::Finished() {
  if (group_.rank() != 0) return {};
  if (!config_.lists.empty()) WriteOriginalLists(config_.lists, ReadForegroundTable(config_.out), config_.levels);
  ScoreSummary summary = SummaryFromJson(*files_.Finished(), files_.summary_path().string());
  if (config_.run.strict) RefuseSkipped(summary.skipped, "this table", SkippedFile());
  summary.up_to_date = true;
  return summary;
}

// What is left is shared; a share has a journal of its own.
void ScoreJob::ScoreShare() {
  const bool shared = group_.size() > 1;
  const Share share = ShareOf(group_, first_, total_, batch_);
  if (share.begin == share.end && shared) return;  // more processes than batches
  std::optional<ScoreJournal> part;
  if (shared) part.emplace(files_.journal_path(share.begin, share.end), RowsKey(), skipped_);
  ScoreJournal& journal = shared ? *part : *journal_;
  const int64_t begin = std::max(share.begin, BeginOfUnit(journal.next(), total_, batch_));
  images_ = journal.images();
  std::erase_if(images_, [&](const ScoredImage& image) { return image.index >= begin; });
  std::vector<int64_t> indices(static_cast<size_t>(std::max<int64_t>(0, share.end - begin)));
  std::iota(indices.begin(), indices.end(), begin);
  const int64_t shown = shared ? share.begin : 0;  // where the bar begins
  progress_.Begin("foreground score", share.end - shown, "images");

  const c10::InferenceMode inference;
  EncodeLoader loader(scorer_.source, indices, scorer_.encoder->preprocess(), batch_, config_.run.threads, skipped_,
                      config_.run.strict);
  std::vector<ScoredImage> unsaved;
  // A line of the journal vouches for masks, so they go to the disk first.
  const auto save = [&] {
    if (unsaved.empty()) return;
    SyncMasks();
    journal.Append(unsaved, (unsaved.back().index / batch_ + 1) * batch_, skipped_);
    images_.insert(images_.end(), unsaved.begin(), unsaved.end());
    unsaved.clear();
  };
  Clock::time_point saved = Clock::now();
  try {
    for (EncodeBatch batch; loader.Next(batch);) {
      const std::vector<ScoredImage> rows = scorer_.Score(batch);
      unsaved.insert(unsaved.end(), rows.begin(), rows.end());
      if (config_.masks.empty() || Clock::now() - saved > kBetweenSyncs) {
        save();
        saved = Clock::now();
      }
      progress_.Update(rows.back().index + 1 - shown, loader.WaitShare());
      progress_.ThrowIfStopped();
      group_.Check();
    }
  } catch (const Interrupted&) {
    save();
    throw;
  }
  save();
}

void ScoreJob::SyncMasks() const {
  if (!config_.masks.empty()) SyncFileSystem(config_.masks);
}

ScoreSummary ScoreJob::Finish() {
  SyncMasks();
  const std::vector<std::string> bad = group_.Gather(SkippedToText(skipped_));
  if (group_.rank() != 0) return {};
  for (const std::string& one : bad) AddSkipped(one, skipped_);
  if (group_.size() > 1) {
    images_ = journal_->images();
    std::erase_if(images_, [&](const ScoredImage& image) { return image.index >= first_; });
    for (int64_t r = 0; r < group_.size(); ++r) {
      SkippedLog ignored;
      const Share share = ShareOf(r, group_.size(), first_, total_, batch_);
      if (share.begin == share.end) continue;
      const ScoreJournal one(files_.journal_path(share.begin, share.end), RowsKey(), ignored);
      images_.insert(images_.end(), one.images().begin(), one.images().end());
    }
  }
  const std::vector<ForegroundRow> rows = RowsOf(scorer_, images_);
  const ScoreSummary summary = Summarise(rows, images_, config_.levels, skipped_.count());
  if (config_.skipped.empty()) skipped_.WriteShared(SkippedFile(), IdsOf(*scorer_.source));
  else skipped_.Write(config_.skipped);
  if (config_.run.strict) RefuseSkipped(summary.skipped, "this table", SkippedFile());  // what an earlier call left out
  WriteForegroundTable(config_.out, rows);
  if (!config_.lists.empty()) WriteOriginalLists(config_.lists, rows, config_.levels);
  files_.Finish(SummaryToJson(summary, config_, scorer_));
  progress_.End(Format("{} images, {} skipped; {:.0f}% foreground on average", summary.images, summary.skipped,
                       100 * summary.mean_ratio));
  return summary;
}

}  // namespace

double Spearman(const std::vector<double>& a, const std::vector<double>& b) {
  const auto ranks = [](const std::vector<double>& values) {
    std::vector<size_t> order(values.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t i, size_t j) { return values[i] < values[j]; });
    std::vector<double> result(values.size());
    for (size_t begin = 0; begin < order.size();) {
      size_t end = begin;
      while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
      for (size_t i = begin; i < end; ++i) result[order[i]] = 0.5 * static_cast<double>(begin + end - 1);
      begin = end;
    }
    return result;
  };
  const std::vector<double> x = ranks(a), y = ranks(b);
  const double mean = 0.5 * (static_cast<double>(a.size()) - 1);
  double both = 0, first = 0, second = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    both += (x[i] - mean) * (y[i] - mean);
    first += (x[i] - mean) * (x[i] - mean);
    second += (y[i] - mean) * (y[i] - mean);
  }
  return first > 0 && second > 0 ? both / std::sqrt(first * second) : 0;
}

ScoreSummary ScoreForeground(const ScoreConfig& config, Progress& progress, Group& group) {
  if (config.levels.empty()) {
    throw UsageError({.what = "`levels` is empty", .where = "key `levels`", .next = "give at least one noise level"});
  }
  RefuseToReplace(config.out);
  ScoreJob job(config, progress, group);
  if (!job.Plan()) return job.Finished();
  job.ScoreShare();
  return job.Finish();
}

}  // namespace genview
