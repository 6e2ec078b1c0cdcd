// What a training run logged, thinned to what a plot can show.
#pragma once

#include <string>
#include <vector>

#include "genview/base/files.h"

namespace genview {

struct Curve {
  std::string arm;                                // with its seed, where there are several
  int64_t colour = 0;                             // 0 to 5, 6 for lines that are not told apart
  std::vector<std::pair<double, double>> points;  // x: step, rising
  std::string label{};                            // at its end; empty: none
  bool strong = false;
  size_t method = 0;  // which of several
};

// One quantity, all arms.
struct Panel {
  std::string title;  // "loss"
  std::string note;   // one sentence: how to read it
  std::string x;      // "step"
  std::vector<Curve> curves;
  bool by_method = false;  // values of different methods are on different scales
};

// A training's log, and the name and colour that its curves get.
struct LogSource {
  std::string arm;
  Path log;
  int64_t colour = 0;
  std::string label{};
  bool strong = false;
  size_t method = 0;
};

// The quantities of log.jsonl that the report shows, each curve averaged down to at most `limit` points. Lines that are
// no JSON object and values that are no number are left out. Panels without any curve are not returned.
std::vector<Panel> ReadPanels(const std::vector<LogSource>& logs, size_t limit = 160);

}  // namespace genview
