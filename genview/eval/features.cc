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

namespace genview {
namespace {

constexpr int64_t kBatchesPerSave = 8;  // what a kill can cost

std::vector<int64_t> Indices(int64_t begin, int64_t end) {
  std::vector<int64_t> indices(static_cast<size_t>(end - begin));
  std::iota(indices.begin(), indices.end(), begin);
  return indices;
}

constexpr size_t kMostNames = 80'000'000;  // bytes; a header ends at 100 million

// Ids, paths and labels of these pictures, as the file's metadata has them. Where ids and paths together are too long for a
// header (a million pictures and more) the paths are left out.
std::map<std::string, std::string> Describe(const ImageSource& source, const std::vector<int64_t>& indices, Json genview) {
  Json ids = Json::array(), paths = Json::array(), labels = Json::array();
  size_t names = 0;
  for (const int64_t index : indices) {
    const SourceItem& item = source.item(index);
    ids.push_back(item.id);
    paths.push_back(item.path);
    labels.push_back(item.label);
    names += item.id.size() + item.path.size() + 10;  // with quotes and commas
  }
  const auto text = [](const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); };
  genview["images"] = indices.size();
  std::map<std::string, std::string> metadata = {{"genview", text(genview)}, {"ids", text(ids)}};
  if (names < kMostNames) metadata["paths"] = text(paths);
  if (!source.classes().empty()) {
    metadata["labels"] = text(labels);
    metadata["classes"] = text(source.classes());
  }
  return metadata;
}

}  // namespace

FeaturesSummary ExtractFeatures(const FeaturesConfig& config, Progress& progress, Group& group) {
  const auto source = OpenSource(config.images);
  const at::Device device = ChooseDevice(config.run.device);
  const at::ScalarType compute = ChooseCompute(config.run.precision, device);
  const auto encoder = Encoder::Open(config.encoder, device, compute);
  const int64_t total = source->size();
  Json origin = {{"format", 1}, {"kind", "features"}, {"encoder", encoder->fingerprint()}, {"encoder_name", encoder->name()},
                 {"preprocess", encoder->preprocess().ToJson()}, {"source", config.images},
                 {"precision", PrecisionName(compute)}};
  const Json asked = {{"origin", origin}, {"images", source->Fingerprint()}, {"tokens", config.tokens}};
  const std::string request = Fingerprint(asked.dump());
  origin["request"] = request;
  std::vector<FeatureColumn> columns = {{"embeddings", {encoder->embedding_width()}}};
  if (config.tokens) columns.insert(columns.begin(), {"tokens", {encoder->grid() * encoder->grid(), encoder->token_width()}});
  FeaturesSummary summary{.embedding_width = encoder->embedding_width()};

  // Process 0 says what is to be done: its machine may have another natural batch than the others'.
  SkippedLog skipped;
  std::optional<FeatureFile> file;
  Json plan = {{"batch", EncodeBatchSize(*encoder, config.run.batch)}};
  if (group.rank() == 0) {
    if (const auto images = FinishedFeatures(config.out, request)) {
      plan["finished"] = *images;
    } else {
      SweepPartFilesBeside({config.out});  // of a killed call
      file.emplace(config.out, request, columns, total, Describe(*source, Indices(0, total), origin), skipped);
      plan["first"] = file->next();
    }
  }
  plan = ParseJson(group.Broadcast(plan.dump()), "plan of process 0");
  if (plan.contains("finished")) {
    summary.images = plan["finished"].get<int64_t>();
    summary.skipped = total - summary.images;
    summary.up_to_date = true;
    return summary;
  }
  const auto batch_size = plan["batch"].get<int64_t>();
  const auto aligned = [&](int64_t next) { return next >= total ? total : next / batch_size * batch_size; };
  const int64_t first = aligned(plan["first"].get<int64_t>());
  if (file) file->DropFrom(first);

  // A share has a file of its own until all are whole. Alone, the share is the file.
  const Share share = ShareOf(group, first, total, batch_size);
  const auto open_share = [&](const Share& s, SkippedLog& bad) {
    return std::make_unique<FeatureFile>(FeatureFile::PartOfShare(config.out, s.begin, s.end), request, columns, total, std::map<std::string, std::string>{}, bad);
  };
  const std::unique_ptr<FeatureFile> part = group.size() > 1 ? open_share(share, skipped) : nullptr;
  FeatureFile& own = part ? *part : *file;
  const int64_t begin = std::max(share.begin, aligned(own.next()));
  own.DropFrom(begin);
  const int64_t shown = part ? share.begin : 0;  // where the bar begins
  progress.Begin("features", share.end - shown, "images");
  {
    const c10::InferenceMode inference;
    EncodeLoader loader(source, Indices(begin, std::max(begin, share.end)), encoder->preprocess(), batch_size, config.run.threads, skipped, config.run.strict);
    int64_t unsaved = 0;
    for (EncodeBatch batch; loader.Next(batch);) {
      const Encoder::Output out = encoder->Encode(batch.pixels, config.tokens);
      if (config.tokens) own.Append(0, out.tokens);
      own.Append(config.tokens ? 1 : 0, out.embeddings);
      own.EndBatch(batch.indices, std::min(total, (batch.indices.back() / batch_size + 1) * batch_size));
      progress.Update(batch.indices.back() + 1 - shown, loader.WaitShare());
      if (++unsaved % kBatchesPerSave == 0 || progress.Stopped()) own.Save(skipped);
      progress.ThrowIfStopped();
      group.Check();
    }
  }
  if (part) part->Save(skipped);
  const std::vector<std::string> bad = group.Gather(SkippedToText(skipped));
  if (group.rank() != 0) return summary;
  for (const std::string& one : bad) AddSkipped(one, skipped);
  for (int64_t r = 0; part && r < group.size(); ++r) {
    SkippedLog ignored;
    file->Take(*open_share(ShareOf(r, group.size(), first, total, batch_size), ignored));
  }
  summary.images = static_cast<int64_t>(file->indices().size());
  summary.skipped = skipped.count();
  skipped.Write(config.out.parent_path() / "skipped.tsv");
  file->Finish(Describe(*source, file->indices(), origin));
  progress.End(Format("{} images, {} skipped", summary.images, summary.skipped));
  return summary;
}

}  // namespace genview
