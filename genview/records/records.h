// What stages hand to each other, as files. No tensors here.
//
//   ratios.tsv           ForegroundTable   id, path, foreground_ratio, noise_level
//   views/manifest.jsonl ViewTable         one row per generated view
//   skipped.tsv          SkippedLog        id, reason
//   linear.json ...      EvalResult
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "genview/base/error.h"
#include "genview/base/files.h"
#include "genview/base/json.h"

namespace genview {

struct ForegroundRow {
  std::string id;
  std::string path;  // of the picture, for people; may be "shapes:..." or inside a shard
  double ratio = 0;  // share of foreground tokens, [0, 1]
  int64_t noise_level = 0;
  std::optional<double> guidance{};     // of the picture's views, where the table has such a column and it is not empty
  std::optional<std::string> prompt{};  // likewise

  bool operator==(const ForegroundRow&) const = default;
};

// Also reads the original tools' lists (`<path> <number>` per line without header: a ratio, or a level where > 1; the
// path is the id, and the ratio of a level is the middle of its fifth of [0, 1]). A row that is there twice counts
// once.
std::vector<ForegroundRow> ReadForegroundTable(const Path& path);  // throws Error with the line
void WriteForegroundTable(const Path& path, const std::vector<ForegroundRow>& rows);

// Level by ratio (paper section 3.2; edges belong to the lower bin): (0,.2] 0, (.2,.4] 100, ... (.8,1] 400 with the
// default levels; other numbers of levels divide [0, 1] evenly. A ratio of 0 gets the first.
int64_t NoiseLevelFor(double ratio, const std::vector<int64_t>& levels);

struct ViewRow {
  std::string id;       // of the source image
  int64_t index = 0;    // 0 .. per_image-1
  std::string file;     // relative to the manifest's folder; in a shard the member's name
  std::string shard;    // tar file that holds it, relative likewise; "" for a file of its own
  uint64_t offset = 0;  // of its first byte in the shard
  int64_t noise_level = 0;
  uint64_t seed = 0;
  int64_t steps = 0;
  double guidance = 0;
  std::string generator;  // fingerprint
  std::string scheduler;
  int64_t retried = 0;                  // 1: made again in fp32 after a NaN or black picture
  std::string prompt, negative_prompt;  // "" for none
  int64_t width = 0, height = 0;        // of the picture; 0: not known (a manifest of an older version)
  uint64_t bytes = 0;                   // size of the file; 0: not known (a manifest of an older version)
  std::string hash;                     // fingerprint of the file's contents; "" likewise
  std::string picture;                  // fingerprint of the source image's file as it was; "": not known, likewise
  std::string fault;                    // in lost.jsonl: why there is no picture
};
Json ViewRowToJson(const ViewRow& row);
ViewRow ViewRowFromJson(const Json& json, const std::string& where);  // throws Error
std::vector<ViewRow> ReadViewTable(const Path& manifest);  // a torn last line is left out; throws Error with the line

// id -> reason, sorted by id when read or written, whatever the order of the threads that added. Copies share the rows.
class SkippedLog {
 public:
  SkippedLog();
  void Add(const std::string& id, const std::string& reason);  // thread-safe
  int64_t count() const;
  std::vector<std::pair<std::string, std::string>> rows() const;  // sorted by id, each id once
  // Header `id\treason`. When empty no file, and an old one goes; or, with `even_empty`, the header alone.
  void Write(const Path& path, bool even_empty = false) const;
  // The same in a folder that other commands write to: rows of pictures that this one has not looked at stay.
  void WriteShared(const Path& path, const std::vector<std::string>& looked_at) const;

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

// The rows of a log as one line of text, and back: what processes tell each other.
std::string SkippedToText(const SkippedLog& log);
void AddSkipped(const std::string& text, SkippedLog& log);

// One score file of an arm: `linear.json`, `knn.json`.
struct EvalResult {
  std::string kind;                    // "linear", "knn"
  double top1 = 0, top5 = 0;           // percent
  double top1_low = 0, top1_high = 0;  // 95% Wilson interval, percent; of a mean over draws that of the mean
  std::optional<std::pair<double, double>> top5_range{};  // of a mean over draws: the same of top5
  int64_t images = 0, classes = 0;
  uint64_t seed = 0;
  std::string checkpoint;  // fingerprint of the file's contents
  Json normalisation;      // the encoder's preprocess
  Json settings;           // k, temperature, learning rates, ...
};
Json EvalResultToJson(const EvalResult& result);
EvalResult EvalResultFromJson(const Json& json, std::string_view where);
// Wilson score interval of a share: {low, high} in [0, 1]. `z`: quantile of a normal distribution, here that of 95%.
std::pair<double, double> WilsonInterval(int64_t hits, int64_t total, double z = 1.959963984540054);

// A field of a .tsv without tab, newline or carriage return (they become blanks).
std::string TsvField(std::string_view text);

}  // namespace genview
