#include "genview/data/shapes_dataset.h"

#include "genview/base/json.h"
#include "genview/base/text.h"
#include "genview/data/ordered_batches.h"
#include "genview/data/source_parts.h"
#include "genview/image/image.h"

namespace genview {
namespace {

// Whether a file had to be written. What is there is compared, so that bytes lost in a power cut come back.
bool Bring(const Path& path, const std::string& bytes) {
  const Outcome<std::string> there = ReadFileBytes(path);
  if (there && *there == bytes) return false;
  WriteFileUnsynced(path, bytes);
  return true;
}

Json Description(const ShapesConfig& config) {
  return {{"format", 1}, {"kind", "shapes"}, {"settings", FieldsToJson(config)}, {"classes", ShapeClasses()}};
}

// True when the folder is complete. Another data set in it is an error: the two would be mixed up.
bool IsComplete(const ShapesConfig& config, const Path& marker) {
  std::error_code code;
  if (!std::filesystem::exists(marker, code)) return false;
  if (ReadJson(marker) == Description(config)) return true;
  throw Error({.what = "this folder holds a data set made with other settings",
               .where = marker.string(),
               .next = "choose another --out, or remove the folder"});
}

// Somebody may have removed some since.
bool AllAreThere(const ShapesConfig& config, const Path& out) {
  for (const char* part : {"images", "masks"}) {
    int64_t count = 0;
    std::error_code code;
    for (std::filesystem::recursive_directory_iterator it(out / part, code), end; !code && it != end;
         it.increment(code))
      count += it->path().extension() == ".png" && it->is_regular_file(code) ? 1 : 0;
    if (count < config.count) return false;
  }
  return true;
}

void CheckBegun(const ShapesConfig& config, const Path& begun) {
  if (!IsComplete(config, begun)) WriteJson(begun, Description(config));
}

}  // namespace

ShapesDatasetSummary MakeShapesDataset(const ShapesConfig& config, const Path& out, Progress& progress,
                                       int64_t threads) {
  ShapesDatasetSummary summary{.images = config.count, .written = 0};
  const Path marker = out / "dataset.json", begun = out / ".dataset.begun.json";
  if (IsComplete(config, marker) && AllAreThere(config, out)) return summary;
  SweepPartFiles(out);
  CheckBegun(config, begun);

  for (const char* part : {"images", "masks"}) {
    for (const std::string& name : ShapeClasses()) SweepPartFiles(out / part / name);
  }
  using Written = std::vector<char>;
  constexpr int64_t kBatch = 64;
  OrderedBatches<Written> work(
      {.end = config.count, .batch = kBatch, .threads = ResolveThreads(threads), .grain = 4},
      [](int64_t, int64_t count) { return Written(static_cast<size_t>(count)); },
      [&](Written& written, int64_t slot, int64_t i) {
        const ShapesPicture picture = DrawShape(config, i);
        const Path name = Path(ShapeClasses()[static_cast<size_t>(picture.label)]) / Format("{:06}.png", i);
        const bool image = Bring(out / "images" / name, EncodePng(picture.image));
        const bool mask = Bring(out / "masks" / name, EncodePng(picture.mask));
        written[static_cast<size_t>(slot)] = image || mask;
      });
  progress.Begin("dataset", config.count, "pictures");
  int64_t done = 0;
  for (Written written; work.Next(written);) {
    for (const char w : written) summary.written += w;
    progress.Update(done += static_cast<int64_t>(written.size()));
    progress.ThrowIfStopped();
  }
  SyncFileSystem(out);
  WriteJson(marker, Description(config));
  std::error_code code;
  std::filesystem::remove(begun, code);
  progress.End(Format("{} pictures in {}", config.count, out.string()));
  return summary;
}

}  // namespace genview
