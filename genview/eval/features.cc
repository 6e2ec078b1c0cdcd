#include "genview/eval/features.h"

#include <c10/core/InferenceMode.h>

#include <memory>
#include <numeric>
#include <optional>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/loader.h"
#include "genview/eval/feature_file.h"
#include "genview/models/encoder.h"
#include "genview/records/refuse_skipped.h"

namespace genview {
namespace {

constexpr int64_t kBatchesPerSave = 8;  // what a kill can cost

std::vector<int64_t> Indices(int64_t begin, int64_t end) {
  std::vector<int64_t> indices(static_cast<size_t>(end - begin));
  std::iota(indices.begin(), indices.end(), begin);
  return indices;
}

// Whether a header has room for ids and paths of all pictures.
bool HasRoomForPaths(const ImageSource& source, uint64_t most_names) {
  uint64_t names = 0;
  for (int64_t i = 0; i < source.size(); ++i)
    names += source.item(i).id.size() + source.item(i).path.size() + 10;  // with quotes and commas
  return names < most_names;
}

// Ids, paths and labels of these pictures, as the file's metadata has them.
std::map<std::string, std::string> Describe(const ImageSource& source, const std::vector<int64_t>& indices,
                                            bool with_paths, Json genview) {
  Json paths = Json::array(), labels = Json::array();
  for (const int64_t index : indices) {
    const SourceItem& item = source.item(index);
    if (with_paths) paths.push_back(item.path);
    labels.push_back(item.label);
  }
  const auto text = [](const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); };
  genview["images"] = indices.size();
  std::map<std::string, std::string> metadata = {{"genview", text(genview)}, {"ids", text(IdsOf(source, indices))}};
  if (with_paths) metadata["paths"] = text(paths);
  if (!source.classes().empty()) {
    metadata["labels"] = text(labels);
    metadata["classes"] = text(source.classes());
  }
  return metadata;
}

class Extraction {
 public:
  Extraction(const FeaturesConfig& config, Progress& progress, Group& group);
  FeaturesSummary Go();

 private:
  bool Plan();  // false: the file is there as it is asked for
  void EncodeShare();
  void Merge();
  Path SkippedFile() const { return config_.out.parent_path() / "skipped.tsv"; }
  std::unique_ptr<FeatureFile> OpenShare(const Share& share, SkippedLog& skipped) const;
  // Of these rows. Whether with paths is decided once and by all pictures: the room for the header is by them, too.
  std::map<std::string, std::string> Metadata(const std::vector<int64_t>& indices) const {
    return Describe(*source_, indices, with_paths_, origin_);
  }

  const FeaturesConfig& config_;
  Progress& progress_;
  Group& group_;
  const std::shared_ptr<const ImageSource> source_;
  const int64_t total_;
  std::shared_ptr<Encoder> encoder_;
  Json origin_;          // where the rows come from, for the metadata
  std::string request_;  // fingerprint of what is asked for
  bool with_paths_ = true;
  std::vector<FeatureColumn> columns_;
  int64_t batch_ = 0, first_ = 0;  // the first picture that is still to be done
  SkippedLog skipped_;
  std::optional<FeatureFile> file_;    // of process 0
  std::unique_ptr<FeatureFile> part_;  // of this process's share, where there are several
  FeaturesSummary summary_;            // of process 0
};

Extraction::Extraction(const FeaturesConfig& config, Progress& progress, Group& group)
    : config_(config), progress_(progress), group_(group), source_(OpenSource(config.images)), total_(source_->size()) {
  if (group.rank() == 0) WarnOfOtherFormats(*source_, progress);
  const at::Device device = ChooseDevice(config.run.device);
  // Numbers that people compare with other libraries' are in fp32 unless they ask for less.
  const bool in_full = config.run.precision == Precision::kAuto && device.is_cpu();
  const at::ScalarType compute = in_full ? at::kFloat : ChooseCompute(config.run.precision, device);
  encoder_ = Encoder::Open(config.encoder, device, compute);
  origin_ = {{"format", 1},
             {"kind", "features"},
             {"encoder", encoder_->fingerprint()},
             {"encoder_name", encoder_->name()},
             {"preprocess", encoder_->preprocess().ToJson()},
             {"source", config.images},
             {"precision", PrecisionName(compute)}};
  const Json asked = {{"origin", origin_}, {"images", source_->Fingerprint()}, {"tokens", config.tokens}};
  request_ = Fingerprint(asked.dump());
  origin_["request"] = request_;
  columns_ = {{"embeddings", {encoder_->embedding_width()}}};
  if (config.tokens)
    columns_.insert(columns_.begin(), {"tokens", {encoder_->grid() * encoder_->grid(), encoder_->token_width()}});
  summary_.embedding_width = encoder_->embedding_width();
}

// Process 0 says what is to be done: its machine may have another natural batch than the others'.
bool Extraction::Plan() {
  Json plan = {{"batch", EncodeBatchSize(*encoder_, config_.run.batch)}};
  if (group_.rank() == 0) {
    if (const auto images = FinishedFeatures(config_.out, request_)) {
      plan["finished"] = *images;
    } else {
      RefuseToOverwrite(*source_, {config_.out, SkippedFile()});
      RefuseToReplaceInput(config_.out, {config_.encoder, config_.images});
      SweepPartFilesBeside({config_.out});  // of a killed call
      with_paths_ = HasRoomForPaths(*source_, config_.most_names);
      if (!with_paths_) {
        progress_.Warn(
            Format("the names of {} pictures are too long for one header: `paths` is left out, `ids` is not", total_));
      }
      file_.emplace(config_.out, request_, columns_, total_, Metadata(Indices(0, total_)), skipped_);
      plan["first"] = file_->next();
    }
  }
  plan = ParseJson(group_.Broadcast(plan.dump()), "plan of process 0");
  if (plan.contains("finished")) {
    summary_.images = plan["finished"].get<int64_t>();
    summary_.skipped = total_ - summary_.images;
    summary_.up_to_date = true;
    if (config_.run.strict) RefuseSkipped(summary_.skipped, "these features", SkippedFile());
    return false;
  }
  batch_ = plan["batch"].get<int64_t>();
  first_ = BeginOfUnit(plan["first"].get<int64_t>(), total_, batch_);
  if (file_) file_->DropFrom(first_);
  return true;
}

std::unique_ptr<FeatureFile> Extraction::OpenShare(const Share& share, SkippedLog& skipped) const {
  return std::make_unique<FeatureFile>(FeatureFile::PartOfShare(config_.out, share.begin, share.end), request_,
                                       columns_, total_, std::map<std::string, std::string>{}, skipped);
}

// A share has a file of its own until all are whole. Alone, the share is the file.
void Extraction::EncodeShare() {
  const Share share = ShareOf(group_, first_, total_, batch_);
  if (share.begin == share.end && group_.size() > 1) return;  // more processes than batches
  if (group_.size() > 1) part_ = OpenShare(share, skipped_);
  FeatureFile& own = part_ ? *part_ : *file_;
  const int64_t begin = std::max(share.begin, BeginOfUnit(own.next(), total_, batch_));
  own.DropFrom(begin);
  const int64_t shown = part_ ? share.begin : 0;  // where the bar begins
  progress_.Begin("features", share.end - shown, "images");
  const c10::InferenceMode inference;
  EncodeLoader loader(source_, Indices(begin, std::max(begin, share.end)), encoder_->preprocess(), batch_,
                      config_.run.threads, skipped_, config_.run.strict);
  int64_t unsaved = 0;
  for (EncodeBatch batch; loader.Next(batch);) {
    const Encoder::Output out = encoder_->Encode(batch.pixels, config_.tokens);
    if (config_.tokens) own.Append(0, out.tokens);
    own.Append(config_.tokens ? 1 : 0, out.embeddings);
    own.EndBatch(batch.indices, std::min(total_, (batch.indices.back() / batch_ + 1) * batch_));
    progress_.Update(batch.indices.back() + 1 - shown, loader.WaitShare());
    if (++unsaved % kBatchesPerSave == 0 || progress_.Stopped()) own.Save(skipped_);
    progress_.ThrowIfStopped();
    group_.Check();
  }
}

// All shares into the one file.
void Extraction::Merge() {
  if (part_) part_->Save(skipped_);
  part_.reset();  // for process 0 to open
  const std::vector<std::string> bad = group_.Gather(SkippedToText(skipped_));
  if (group_.rank() != 0) return;
  for (const std::string& one : bad) AddSkipped(one, skipped_);
  for (int64_t r = 0; group_.size() > 1 && r < group_.size(); ++r) {
    SkippedLog ignored;
    const Share share = ShareOf(r, group_.size(), first_, total_, batch_);
    if (share.begin < share.end) file_->Take(*OpenShare(share, ignored));
  }
  summary_.images = static_cast<int64_t>(file_->indices().size());
  summary_.skipped = skipped_.count();
  skipped_.WriteShared(SkippedFile(), IdsOf(*source_));
  if (config_.run.strict)
    RefuseSkipped(summary_.skipped, "these features", SkippedFile());  // what an earlier call left out
  file_->Finish(Metadata(file_->indices()));
  progress_.End(Format("{} images, {} skipped", summary_.images, summary_.skipped));
}

FeaturesSummary Extraction::Go() {
  if (!Plan()) return summary_;
  EncodeShare();
  Merge();
  return summary_;
}

}  // namespace

FeaturesSummary ExtractFeatures(const FeaturesConfig& config, Progress& progress, Group& group) {
  return Extraction(config, progress, group).Go();
}

}  // namespace genview
