// The two kinds of drawing in a report, as inline SVG that takes its colours from the page's style sheet.
#pragma once

#include "genview/report/curves.h"
#include "genview/report/html.h"

namespace genview {

// Round numbers that divide [low, high] into about `count` steps, from the first at or above `low`.
std::vector<double> Ticks(double low, double high, int count);
std::string TickText(double value, double step);

struct Extent {
  double x_low = 0, x_high = 0, y_low = 0, y_high = 0;
  int64_t letters = 0;  // of the longest label
};
Extent ExtentOf(const std::vector<Curve>& curves);

// All arms' curves of one quantity, on axes that reach over `extent`; strong ones in front, labels at their ends.
void DrawPanel(Html& html, const Panel& panel, const Extent& extent);

// A value and its interval as a dot on a line, on an axis from `low` to `high`; `reference`: a mark for the baseline.
struct IntervalMark {
  double value = 0, value_low = 0, value_high = 0;
  double low = 0, high = 100, reference = 0;
  int64_t colour = 0;
  std::string label;  // for screen readers
};
void DrawInterval(Html& html, const IntervalMark& mark);

}  // namespace genview
