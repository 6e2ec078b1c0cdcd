#include "genview/data/pack.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/ordered_batches.h"
#include "genview/data/source.h"
#include "genview/data/source_parts.h"
#include "genview/data/tar_writer.h"
#include "genview/image/image.h"

namespace genview {
namespace {

// Where the shards go, and how they are named to read them again.
struct Target {
  std::vector<std::string> files;
  std::string spec;
  Path index, begun;
};

Target PlanTarget(const PackConfig& config, int64_t images) {
  Target target;
  const std::string out = config.out.string();
  if (!config.out.has_filename()) {
    throw UsageError({.what = "shards need a name",
                      .where = Format("--out {}", out),
                      .next = Format("say how they are called: {}train", out)});
  }
  std::string stem = out;
  if (out.find('{') != std::string::npos || out.ends_with(".tar")) {
    target.files = ExpandBraces(out);
    target.spec = out;
    stem = out.substr(0, std::min(out.find('{'), out.rfind(".tar")));
    while (stem.ends_with('-')) stem.pop_back();
  } else {
    const int64_t count = (images + config.per_shard - 1) / config.per_shard;
    target.spec = Format("{}-{{0000..{:04}}}.tar", out, count - 1);
    target.files = ExpandBraces(target.spec);
  }
  target.index = stem + ".json";
  target.begun = target.index.parent_path() / Format(".{}.begun.json", target.index.stem().string());
  return target;
}

// Shard k of n holds pictures [k * size / n, (k + 1) * size / n).
int64_t FirstOf(int64_t shard, int64_t shards, int64_t images) { return shard * images / shards; }

Json Description(const ImageSource& source, const Target& target, bool check) {
  Json json = {{"format", 1},
               {"kind", "shards"},
               {"source", source.Fingerprint()},
               {"spec", Path(target.spec).filename().string()},
               {"classes", source.classes()}};
  if (!check) json["check"] = false;
  return json;
}

// True when this file describes the same work; another description is an error.
bool Describes(const Path& file, const Json& wanted) {
  std::error_code code;
  if (!std::filesystem::exists(file, code)) return false;
  Json there = ReadJson(file);
  if (there.is_object()) there.erase("shards");
  if (there == wanted) return true;
  throw Error({.what = "there are shards of other images under this name",
               .where = file.string(),
               .next = "choose another --out, or remove the shards and this file"});
}

bool HasPictureName(std::string_view id) { return IsPictureName(id.substr(id.rfind('/') + 1)); }  // npos + 1 is 0

// What WebDataset knows the members of one picture by.
std::string KeyOf(const std::string& id) { return HasPictureName(id) ? id.substr(0, id.rfind('.')) : id; }

// a.png and a.jpg have one class file.
void CheckClassesFit(const ImageSource& source) {
  std::unordered_map<std::string, int64_t> first;
  for (int64_t i = 0; i < source.size(); ++i) {
    const auto [at, is_new] = first.emplace(KeyOf(source.item(i).id), i);
    if (is_new || source.item(at->second).label == source.item(i).label) continue;
    throw Error({.what = "two pictures differ in their ending and their class alone, and would share one class file",
                 .where = Format("{} and {}", source.item(at->second).path, source.item(i).path),
                 .next = "rename one of them"});
  }
}

struct PackedFile {
  std::string name{};  // in the shard, with an ending that says what it is
  std::string bytes{};
  std::string reason{};  // why it is skipped
};

PackedFile ReadForShard(const ImageSource& source, int64_t i, bool check) {
  Outcome<std::string> bytes = source.ReadBytes(i);
  if (!bytes) return {.reason = bytes.reason()};
  PackedFile file{.name = source.item(i).id, .bytes = std::move(*bytes)};
  if (!HasPictureName(file.name)) {
    const std::string_view ending = PictureEnding(file.bytes);
    if (ending.empty()) return {.reason = "not a JPEG, PNG or WebP picture"};
    file.name += ending;
  }
  if (file.name.substr(file.name.rfind('/') + 1).starts_with('.'))
    return {.reason = "its name begins with a point: readers of shards pass it over"};
  if (!check) return file;
  const Outcome<Image> image = DecodeImage(file.bytes);
  return image ? file : PackedFile{.reason = image.reason()};
}

void Skip(const SourceItem& item, const std::string& reason, const PackConfig& config, SkippedLog& skipped) {
  skipped.Add(item.id, reason);
  if (!config.strict) return;
  throw Error({.what = Format("a picture cannot be read: {}", reason),
               .where = item.path,
               .next = "mend or remove it; without --strict it is skipped"});
}

// The pictures [from, to) as one tar file; returns how many could be read.
int64_t WriteShard(const ImageSource& source, int64_t from, int64_t to, const PackConfig& config, const Path& path,
                   SkippedLog& skipped) {
  using Files = std::vector<PackedFile>;
  OrderedBatches<Files> work(
      {.end = to - from, .batch = 16, .threads = ResolveThreads(config.threads)},
      [](int64_t, int64_t count) { return Files(static_cast<size_t>(count)); },
      [&](Files& files, int64_t slot, int64_t position) {
        files[static_cast<size_t>(slot)] = ReadForShard(source, from + position, config.check);
      });
  AtomicFile out(path);
  const auto write = [&](const std::string& name, const std::string& bytes) {
    out.Write(TarHeader(name, bytes.size()));
    out.Write(bytes);
    out.Write(TarPadding(bytes.size()));
  };
  int64_t i = from, written = 0;
  std::string last;  // a.jpg and a.png, which follow each other in a folder, have one class file
  for (Files files; work.Next(files);) {
    for (const PackedFile& file : files) {
      const SourceItem& item = source.item(i++);
      if (!file.reason.empty()) {
        Skip(item, file.reason, config, skipped);
        continue;
      }
      write(file.name, file.bytes);
      ++written;
      const std::string key = KeyOf(item.id);
      if (item.label >= 0 && std::exchange(last, key) != key)
        write(key + ".cls", source.classes()[static_cast<size_t>(item.label)]);
    }
  }
  out.Write(TarEnd());
  out.Commit();
  return written;
}

[[noreturn]] void RefuseForeign(const Path& file) {
  throw Error({.what = "a file of other pictures has the name of a shard",
               .where = file.string(),
               .next = "choose another --out, or remove the file"});
}

// The same of a shard that an earlier call has written. What is not in it was skipped, and is again; -1 where it could
// be read now, so that the shard is to be written anew.
int64_t ReadShard(const ImageSource& source, int64_t from, int64_t to, const PackConfig& config, const Path& path,
                  SkippedLog& skipped) {
  const std::vector<std::string> names = PicturesOfShard(path);
  const std::set<std::string> there(names.begin(), names.end());
  std::set<std::string> keys;  // of what the shard may hold
  for (int64_t i = from; i < to; ++i) keys.insert(KeyOf(source.item(i).id));
  if (!std::all_of(names.begin(), names.end(), [&](const auto& name) { return keys.contains(KeyOf(name)); }))
    RefuseForeign(path);
  for (int64_t i = from; there.size() < static_cast<size_t>(to - from) && i < to; ++i) {
    if (there.contains(source.item(i).id)) continue;
    const PackedFile file = ReadForShard(source, i, config.check);
    if (!file.reason.empty()) Skip(source.item(i), file.reason, config, skipped);
    else if (!there.contains(file.name)) return -1;
  }
  return static_cast<int64_t>(there.size());
}

}  // namespace

PackSummary PackShards(const PackConfig& config, Progress& progress, SkippedLog& skipped) {
  const auto source = OpenSource(config.images);
  CheckClassesFit(*source);
  WarnOfOtherFormats(*source, progress);
  const Target target = PlanTarget(config, source->size());
  const auto shards = static_cast<int64_t>(target.files.size());
  PackSummary summary{.images = 0, .shards = shards, .written = 0, .spec = target.spec};
  const Json description = Description(*source, target, config.check);
  std::vector<Path> files(target.files.begin(), target.files.end());
  files.push_back(target.index);
  SweepPartFilesBeside(files);  // of a killed call
  const auto range_of = [&](int64_t shard) {
    return std::pair(FirstOf(shard, shards, source->size()), FirstOf(shard + 1, shards, source->size()));
  };
  if (!Describes(target.index, description) && !Describes(target.begun, description)) {
    // No earlier call says that these files are its own: what it would not have written is not written over.
    for (int64_t k = 0; k < shards; ++k) {
      const auto [from, to] = range_of(k);
      const Path file = target.files[static_cast<size_t>(k)];
      if (std::filesystem::exists(file) && ReadShard(*source, from, to, config, file, skipped) < 0) RefuseForeign(file);
    }
    WriteJson(target.begun, description);
  }

  progress.Begin("pack", source->size(), "pictures");
  Json index = description;
  index["shards"] = Json::array();
  for (int64_t k = 0; k < shards; ++k) {
    const Path file = target.files[static_cast<size_t>(k)];
    const auto [from, to] = range_of(k);
    std::error_code code;
    const bool there = std::filesystem::exists(file, code);
    int64_t pictures = there ? ReadShard(*source, from, to, config, file, skipped) : -1;
    if (pictures < 0) {
      pictures = WriteShard(*source, from, to, config, file, skipped);
      ++summary.written;
    }
    summary.images += pictures;
    index["shards"].push_back({{"file", file.filename().string()},
                               {"images", pictures},
                               {"bytes", std::filesystem::file_size(file)},
                               {"fingerprint", FingerprintFile(file)}});
    progress.Update(to);
    progress.ThrowIfStopped();
  }
  skipped.WriteShared(target.index.parent_path() / "skipped.tsv", IdsOf(*source));
  WriteJson(target.index, index);
  std::error_code code;
  std::filesystem::remove(target.begun, code);
  progress.End(Format("{} pictures in {}", summary.images, target.spec));
  return summary;
}

}  // namespace genview
