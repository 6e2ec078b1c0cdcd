#include "genview/eval/evaluation.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include <c10/core/InferenceMode.h>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/data/loader.h"
#include "genview/dist/group.h"
#include "genview/eval/feature_file.h"
#include "genview/records/refuse_skipped.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

using Source = std::shared_ptr<const ImageSource>;

// For each class of `source`, its place among `names`.
std::vector<int64_t> PlacesAmong(const ImageSource& source, const std::vector<std::string>& names,
                                 const std::string& where) {
  std::vector<int64_t> places;
  for (const std::string& name : source.classes()) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
      throw Error(
          {.what = Format("the class \"{}\" is not among the training pictures' {} classes", name, names.size()),
           .where = where,
           .next = SuggestName(name, names)});
    }
    places.push_back(found - names.begin());
  }
  return places;
}

std::vector<int64_t> Labelled(const Source& source, const std::string& where) {
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < source->size(); ++i) {
    if (source->item(i).label >= 0) indices.push_back(i);
  }
  if (indices.empty()) {
    throw Error({.what = "none of the pictures has a class",
                 .where = where,
                 .next = "put the pictures into one folder per class, or use a list file with classes"});
  }
  return indices;
}

void RefuseOneClass(const ImageSource& train, const std::string& where) {
  if (train.classes().size() != 1) return;
  throw Error({.what = Format("all training pictures are of one class, \"{}\"", train.classes()[0]),
               .where = where,
               .next = "a score says how well classes are told apart: give pictures of two or more"});
}

// Per class the first pictures of a random order, at least one; ascending.
std::vector<int64_t> ShareOfEachClass(const Source& source, const std::vector<int64_t>& indices, double fraction,
                                      Seed seed) {
  if (fraction >= 1) return indices;
  std::map<int64_t, std::vector<int64_t>> of_class;
  for (const int64_t i : indices) of_class[source->item(i).label].push_back(i);
  std::vector<int64_t> chosen;
  for (const auto& [label, own] : of_class) {
    const auto wanted = std::max<int64_t>(1, std::llround(fraction * static_cast<double>(own.size())));
    const auto order = Permutation(seed.With(static_cast<uint64_t>(label)), static_cast<int64_t>(own.size()));
    for (int64_t k = 0; k < wanted; ++k) chosen.push_back(own[static_cast<size_t>(order[static_cast<size_t>(k)])]);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

void CheckSources(const Source& train, const std::string& train_spec, const Source& test,
                  const std::string& test_spec) {
  RefuseOneClass(*train, train_spec);
  (void)Labelled(train, train_spec);
  (void)Labelled(test, test_spec);
  (void)PlacesAmong(*test, train->classes(), test_spec);
}

struct Request {
  Source source;
  std::vector<int64_t> indices;
  std::vector<int64_t> places;  // of the source's classes
  std::string what;             // "train", "test"
};

constexpr int64_t kBatchesPerSave = 8;  // what a kill can cost

// What an earlier call left of these rows, and the place for more of them. Their indices are places among the
// request's. Null for an empty path, and where another process makes the same rows: this one makes its own then.
std::unique_ptr<FeatureFile> OpenKept(const Path& path, const std::string& key, const Request& request,
                                      const Encoder& encoder, bool strict, SkippedLog& skipped) {
  if (path.empty()) return nullptr;
  const auto open = [&] {
    return FeatureFile::OpenUnlessHeld(path, Fingerprint(key),
                                       std::vector<FeatureColumn>{{"features", {encoder.embedding_width()}}},
                                       static_cast<int64_t>(request.indices.size()), skipped);
  };
  auto kept = open();
  if (strict && skipped.count() > 0) {  // the pictures are read again, and the first bad one ends it
    kept.reset();
    FeatureFile::RemoveParts(path);
    skipped = SkippedLog();
    kept = open();
  }
  return kept;
}

// Goes on from what `keep` has, and keeps there what it makes.
FeatureRows Encode(const Request& request, const Encoder& encoder, const RunOptions& run, const Path& keep,
                   const std::string& key, SkippedLog& skipped, Progress& progress) {
  const c10::InferenceMode guard;
  const auto total = static_cast<int64_t>(request.indices.size());
  const int64_t at_a_time = run.batch > 0 ? run.batch : 128;
  // One block for all rows: two copies of a large table would not fit.
  Tensor features = at::empty({total, encoder.embedding_width()});
  std::vector<int64_t> places;  // of the rows so far, among the request's pictures
  int64_t first = 0;            // place that is to be done
  const std::unique_ptr<FeatureFile> kept = OpenKept(keep, key, request, encoder, run.strict, skipped);
  if (kept) {
    first = BeginOfUnit(kept->next(), total, at_a_time);
    kept->DropFrom(first);
    places = kept->indices();
    kept->CopyTo(0, features.narrow(0, 0, std::ssize(places)));
  }
  EncodeLoader loader(request.source, {request.indices.begin() + first, request.indices.end()}, encoder.preprocess(),
                      at_a_time, run.threads, skipped, run.strict);
  progress.Begin(Format("features of the {} pictures", request.what), total, "images");
  progress.Update(std::ssize(places));
  int64_t unsaved = 0;
  for (EncodeBatch batch; loader.Next(batch);) {
    const Tensor rows = encoder.Encode(batch.pixels.to(encoder.device()), /*tokens=*/false).embeddings.cpu();
    features.narrow(0, std::ssize(places), rows.size(0)).copy_(rows);
    std::vector<int64_t> own;
    for (const int64_t i : batch.indices)
      own.push_back(std::lower_bound(request.indices.begin(), request.indices.end(), i) - request.indices.begin());
    places.insert(places.end(), own.begin(), own.end());
    const bool stopped = progress.Stopped();
    if (kept) {
      kept->Append(0, rows);
      kept->EndBatch(own, std::min(total, (own.back() / at_a_time + 1) * at_a_time));
      if (++unsaved % kBatchesPerSave == 0 || stopped) kept->Save(skipped);
    }
    progress.Update(std::ssize(places), loader.WaitShare());
    if (stopped) throw Interrupted();
  }
  progress.End();
  if (kept && first < total) {
    kept->EndBatch({}, total);
    kept->Save(skipped);
  }
  if (places.empty()) {
    throw Error({.what = Format("none of the {} {} pictures could be read", total, request.what),
                 .where = request.source->item(request.indices[0]).path,
                 .next = "check the files; the reason for the first one is: " + skipped.rows().front().second});
  }
  std::vector<int64_t> labels, indices;
  for (const int64_t place : places) {
    indices.push_back(request.indices[static_cast<size_t>(place)]);
    labels.push_back(request.places[static_cast<size_t>(request.source->item(indices.back()).label)]);
  }
  return {features.narrow(0, 0, std::ssize(places)), at::tensor(labels, at::kLong), indices};
}

// Rows that the cache has of an earlier evaluation, and the pictures that it could not read; nothing for a file of a
// version that did not keep these.
std::optional<FeatureRows> ReadCached(const Path& file, SkippedLog& skipped) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  const WeightMap kept = ReadSafetensors(file);
  const std::string bad = kept.Metadata("skipped");
  if (bad.empty() || !kept.Has("indices")) return std::nullopt;
  const Tensor indices = kept.At("indices").contiguous();
  if (indices.size(0) != kept.At("labels").size(0)) return std::nullopt;
  AddSkipped(bad, skipped);
  const auto* first = indices.data_ptr<int64_t>();
  return FeatureRows{kept.At("features").clone(), kept.At("labels").clone(), {first, first + indices.size(0)}};
}

// `key` names all that the rows depend on. `cache`: folder of rows that are all there; `keep`: folder of those that are
// being made. Each may be empty.
struct RowPlaces {
  std::string key;
  Path cache, keep;

  Path Name() const { return Format("features-{}.safetensors", Fingerprint(key)); }
};

FeatureRows EncodeOnce(const Request& request, const Encoder& encoder, const RunOptions& run, const RowPlaces& places,
                       Evaluation& evaluation, Progress& progress) {
  const Path file = places.cache / places.Name(), keep = places.keep.empty() ? Path() : places.keep / places.Name();
  SkippedLog skipped;
  std::optional<FeatureRows> rows = places.cache.empty() ? std::nullopt : ReadCached(file, skipped);
  if (rows && run.strict && skipped.count() > 0)
    rows.reset();  // the pictures are read again, and the first bad one ends it
  if (!rows) {
    skipped = SkippedLog();
    rows = Encode(request, encoder, run, keep, places.key, skipped, progress);
    if (!places.cache.empty()) {
      WriteSafetensors(
          file,
          {{"features", rows->features}, {"labels", rows->labels}, {"indices", at::tensor(rows->indices, at::kLong)}},
          {{"skipped", SkippedToText(skipped)}});
      if (!keep.empty()) FeatureFile::RemoveParts(keep);
    }
  }
  evaluation.LeaveOut(skipped, IdsOf(*request.source, request.indices), request.what, progress);
  return *rows;
}

}  // namespace

void CheckClasses(const std::string& train, const std::string& test) {
  CheckSources(OpenSource(train), train, OpenSource(test), test);
}

int64_t SkippedOf(const EvalResult& result) { return JsonInt(result.settings, "skipped", 0, "score"); }

struct Evaluation::Opened {
  Source train, test;
  std::shared_ptr<Encoder> encoder;
  std::string precision;
};

Evaluation::Evaluation(std::string kind, const EvalInputs& inputs, const Json& settings)
    : kind_(std::move(kind)), inputs_(inputs), opened_(std::make_unique<Opened>()) {
  const at::Device device = ChooseDevice(inputs.run.device);
  const at::ScalarType compute = ChooseCompute(inputs.run.precision, device);
  opened_->train = OpenSource(inputs.train);
  opened_->test = OpenSource(inputs.test);
  opened_->encoder = Encoder::Open(inputs.checkpoint, device, compute);
  opened_->precision = PrecisionName(compute);
  request_ = Fingerprint(Format("{} {} {} {} {} {} {} {}", kind_, settings.dump(), inputs.fraction, inputs.run.seed,
                                opened_->precision, opened_->encoder->fingerprint(), opened_->train->Fingerprint(),
                                opened_->test->Fingerprint()));
}

Evaluation::~Evaluation() = default;

bool Evaluation::Known(EvalResult& result, Progress& progress) const {
  if (ReadResult(result, progress)) {
    ForgetState();  // a kill may have come between the last two steps
    return true;
  }
  CheckSources(opened_->train, inputs_.train, opened_->test, inputs_.test);
  return false;
}

bool Evaluation::ReadResult(EvalResult& result, Progress& progress) const {
  if (inputs_.out.empty() || !std::filesystem::exists(inputs_.out)) return false;
  const Json json = ReadJson(inputs_.out);
  if (!json.is_object() || !json.contains("settings") ||
      JsonString(json["settings"], "request", "", inputs_.out.string()) != request_) {
    return false;
  }
  if (inputs_.run.strict && !json["settings"].contains("skipped"))
    return false;  // of a version that did not count them
  result = EvalResultFromJson(json, inputs_.out.string());
  if (kind_ == "fewshot" && !result.top5_range) return false;  // of a version whose top-5 had no interval
  const int64_t skipped = SkippedOf(result);
  if (inputs_.run.strict) RefuseSkipped(skipped, "this score", SkippedFile());
  if (skipped > 0) progress.Warn(Format("{} pictures could not be read, see {}", skipped, SkippedFile().string()));
  return true;
}

void Evaluation::ForgetState() const {
  std::error_code ignored;
  if (inputs_.out.empty()) return;
  std::filesystem::remove_all(StateFolder(), ignored);
  std::filesystem::remove_all(RowsFolder(), ignored);
}

void Evaluation::LeaveOut(const SkippedLog& skipped, const std::vector<std::string>& looked_at, const std::string& what,
                          Progress& progress) {
  looked_at_.insert(looked_at_.end(), looked_at.begin(), looked_at.end());
  const auto rows = skipped.rows();
  for (const auto& [id, reason] : rows) {
    skipped_.Add(id, reason);
    left_out_.insert(Format("{}\n{}", what == "test" ? inputs_.test : inputs_.train, id));
  }
  if (rows.empty()) return;
  progress.Warn(Format("{} of {} {} pictures could not be read, the first is {}: {}", rows.size(), looked_at.size(),
                       what, rows[0].first, rows[0].second));
}

int64_t Evaluation::classes() const { return static_cast<int64_t>(opened_->train->classes().size()); }

const Encoder& Evaluation::encoder() const { return *opened_->encoder; }

std::shared_ptr<const ImageSource> Evaluation::train_source() const { return opened_->train; }
std::shared_ptr<const ImageSource> Evaluation::test_source() const { return opened_->test; }

std::vector<int64_t> Evaluation::TrainIndices() const {
  return ShareOfEachClass(opened_->train, Labelled(opened_->train, inputs_.train), inputs_.fraction,
                          Seed(inputs_.run.seed).With("fraction"));
}
std::vector<int64_t> Evaluation::TestIndices() const { return Labelled(opened_->test, inputs_.test); }
std::vector<int64_t> Evaluation::TestPlaces() const {
  return PlacesAmong(*opened_->test, opened_->train->classes(), inputs_.test);
}

FeatureRows Evaluation::Train(Progress& progress) {
  Request request{.source = opened_->train, .indices = TrainIndices(), .places = {}, .what = "training"};
  request.places = PlacesAmong(*request.source, opened_->train->classes(), inputs_.train);
  const std::string key = Format("{} {} {} {} {}", opened_->encoder->fingerprint(), opened_->train->Fingerprint(),
                                 opened_->precision, inputs_.fraction, inputs_.fraction < 1 ? inputs_.run.seed : 0);
  return EncodeOnce(request, *opened_->encoder, inputs_.run, {key, inputs_.cache, RowsFolder()}, *this, progress);
}

FeatureRows Evaluation::Train(Progress& progress, const std::vector<int64_t>& indices) {
  const Request request{.source = opened_->train,
                        .indices = indices,
                        .places = PlacesAmong(*opened_->train, opened_->train->classes(), inputs_.train),
                        .what = "training"};
  const std::string key = Format("{} {} {} chosen {}", opened_->encoder->fingerprint(), opened_->train->Fingerprint(),
                                 opened_->precision, Fingerprint(Format("{}", fmt::join(indices, " "))));
  const Path keep = inputs_.out.empty() ? Path() : RowsFolder();  // nobody would take them out of the cache
  return EncodeOnce(request, *opened_->encoder, inputs_.run, {key, /*cache=*/{}, keep}, *this, progress);
}

FeatureRows Evaluation::Test(Progress& progress) {
  Request request{.source = opened_->test, .indices = TestIndices(), .places = TestPlaces(), .what = "test"};
  const std::string key = Format("{} {} {} {}", opened_->encoder->fingerprint(), opened_->test->Fingerprint(),
                                 opened_->precision, fmt::join(opened_->train->classes(), "/"));
  return EncodeOnce(request, *opened_->encoder, inputs_.run, {key, inputs_.cache, RowsFolder()}, *this, progress);
}

EvalResult Evaluation::Finish(int64_t top1_hits, int64_t top5_hits, int64_t images, Json settings) const {
  const auto percent = [&](int64_t hits) { return 100.0 * static_cast<double>(hits) / static_cast<double>(images); };
  const auto [low, high] = WilsonInterval(top1_hits, images);
  EvalResult result;
  result.top1 = percent(top1_hits);
  result.top5 = percent(top5_hits);
  result.top1_low = 100 * low;
  result.top1_high = 100 * high;
  result.images = images;
  result.settings = std::move(settings);
  return Finish(std::move(result));
}

EvalResult Evaluation::Finish(const MeanInterval& top1, const MeanInterval& top5, int64_t images, Json settings) const {
  EvalResult result;
  result.top1 = top1.mean;
  result.top5 = top5.mean;
  result.top1_low = top1.low;
  result.top1_high = top1.high;
  result.top5_range = {top5.low, top5.high};
  result.images = images;
  result.settings = std::move(settings);
  return Finish(std::move(result));
}

EvalResult Evaluation::Finish(EvalResult result) const {
  result.kind = kind_;
  result.classes = classes();
  result.seed = inputs_.run.seed;
  result.checkpoint = opened_->encoder->fingerprint();
  result.normalisation = opened_->encoder->preprocess().ToJson();
  result.settings["fraction"] = inputs_.fraction;
  result.settings["precision"] = opened_->precision;
  result.settings["request"] = request_;
  result.settings["test"] = opened_->test->Fingerprint();  // scores on others are not to be compared with this one
  result.settings["skipped"] = left_out_.size();
  if (inputs_.out.empty()) return result;
  skipped_.WriteShared(SkippedFile(), looked_at_);
  SweepPartFilesBeside({inputs_.out});  // of a killed call
  WriteJson(inputs_.out, EvalResultToJson(result));
  ForgetState();
  return result;
}

}  // namespace genview
