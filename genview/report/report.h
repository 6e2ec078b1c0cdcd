// One self-contained HTML page of one or several runs: no script, nothing fetched, pictures inside. The first screen
// holds the result in a sentence and the table of arms with intervals; pictures, curves, coverage and the recipe
// follow.
//
//   WriteReport({"runs/demo"}, "runs/demo/report.html");
#pragma once

#include <string>
#include <vector>

#include "genview/base/files.h"
#include "genview/report/run_record.h"

namespace genview {

inline constexpr char kPageBegins[] = "<!doctype html>\n";

struct ReportSummary {
  std::string headline;  // the result in a sentence
  uint64_t bytes = 0;
  int64_t pictures_left_out = 0;
};

ReportSummary WriteReport(const std::vector<Path>& runs, const Path& out);
ReportSummary WritePage(std::vector<RunRecord> runs, const Path& out);

}  // namespace genview
