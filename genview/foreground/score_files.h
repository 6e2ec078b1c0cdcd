// The files of `foreground score` beside its table: the journal it goes on from, the summary that says that the table
// is whole, and the lists of the original tools.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "genview/base/files.h"
#include "genview/base/json.h"
#include "genview/records/records.h"

namespace genview {

struct ScoredImage {
  int64_t index = 0;              // into the source
  int64_t tokens = 0;             // of the foreground
  std::optional<double> overlap;  // with the source's own mask
  std::optional<double> truth;    // share of foreground of that mask

  bool operator==(const ScoredImage&) const = default;
};

// One line per batch, written once everything of the batch is on disk. A journal of another request is thrown away.
class ScoreJournal {
 public:
  // Bad pictures that are in the journal are added to `skipped`.
  ScoreJournal(const Path& path, const std::string& request, SkippedLog& skipped);

  const std::vector<ScoredImage>& images() const { return images_; }
  int64_t next() const { return next_; }  // the first index that no line speaks of
  void Append(const std::vector<ScoredImage>& images, int64_t next, const SkippedLog& skipped);

 private:
  bool Read(const Path& path, const std::string& request, SkippedLog& skipped);

  std::vector<ScoredImage> images_;
  int64_t next_ = 0;
  std::map<std::string, std::string> written_;  // bad pictures that are in the journal
  std::optional<LineLog> log_;
};

// `ratios.tsv` is whole when `ratios.json` says so: it holds the request and the table's fingerprint.
class ScoreFiles {
 public:
  // Throws UsageError for a table that has the summary's own name.
  ScoreFiles(const Path& table, std::string request);

  // Throws Error where the summary would replace a file that is neither a summary nor stands beside such a table.
  void RefuseForeignSummary() const;
  std::optional<Json> Finished() const;  // the summary, when the table is whole and of this request
  void Finish(Json summary) const;       // after the table; removes the journal
  // Before a mask is written: from now on the masks of the summary may be of another request than its table.
  void ForgetMasks(const std::string& place) const;
  Path summary_path() const;
  Path journal_path() const;
  Path journal_path(int64_t begin, int64_t end) const;  // of the share that one process of several has

 private:
  std::optional<Json> ReadSummary() const;

  Path table_;
  std::string request_;
};

// fg_ratios.txt with lines `<path> <ratio>`, and for every level fg_ratios_<level>.txt with `<path> <level>`. A path
// with blanks is followed by a tab instead of the blank.
void WriteOriginalLists(const Path& folder, const std::vector<ForegroundRow>& rows, const std::vector<int64_t>& levels);

}  // namespace genview
