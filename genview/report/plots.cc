#include "genview/report/plots.h"

#include <algorithm>
#include <cmath>

#include "genview/base/text.h"

namespace genview {
namespace {

constexpr double kWidth = 300, kHeight = 190, kLeft = 40, kRight = 12, kTop = 12, kBottom = 34;
constexpr double kLetter = 6.3, kLabelGap = 12.5;  // px, of a label

std::string Number(double value) { return Format("{:.1f}", value); }

int64_t Letters(std::string_view text) {  // of UTF-8
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

struct Axis {
  double low = 0, high = 1, from = 0, to = 1;
  double At(double value) const { return from + (to - from) * (value - low) / (high - low); }
};

Axis MakeAxis(double low, double high, double from, double to, double padding) {
  if (!(high > low)) {
    const double around = std::max(std::abs(low) * 0.1, 0.5);
    low -= around;
    high += around;
  }
  const double pad = padding * (high - low);
  return {low - pad, high + pad, from, to};
}

// A mark at every point would hide the line; single points are shown as dots, since a line of one point shows nothing.
void DrawCurve(Html& html, const Curve& curve, const Axis& x, const Axis& y) {
  const std::string colour = Format("c{}", curve.colour);
  if (curve.points.size() == 1) {
    html.Void("circle", {{"class", "dot " + colour},
                         {"cx", Number(x.At(curve.points[0].first))},
                         {"cy", Number(y.At(curve.points[0].second))},
                         {"r", "3"}});
    return;
  }
  std::string points;
  for (const auto& [px, py] : curve.points)
    points += Format("{}{},{}", points.empty() ? "" : " ", Number(x.At(px)), Number(y.At(py)));
  html.Void("polyline", {{"class", Format("curve {} d{}{}", colour, curve.colour, curve.strong ? " strong" : "")},
                         {"points", points}});
}

// Labels at the height of their lines' ends, moved apart as far as they would touch.
void DrawLabels(Html& html, const std::vector<Curve>& curves, const Axis& y, double left) {
  std::vector<std::pair<double, const Curve*>> labels;
  for (const Curve& curve : curves) {
    if (!curve.label.empty()) labels.emplace_back(y.At(curve.points.back().second), &curve);
  }
  std::sort(labels.begin(), labels.end());
  double lowest = kTop - kLabelGap;
  for (auto& [place, curve] : labels) lowest = place = std::max(place, lowest + kLabelGap);
  double highest = kHeight - kBottom + kLabelGap;
  for (auto label = labels.rbegin(); label != labels.rend(); ++label)
    highest = label->first = std::min(label->first, highest - kLabelGap);
  for (const auto& [place, curve] : labels) {
    html.Line("text", curve->label,
              {{"class", Format("label c{}{}", curve->colour, curve->strong ? " strong" : "")},
               {"x", Number(left)},
               {"y", Number(place + 4)}});
  }
}

}  // namespace

std::vector<double> Ticks(double low, double high, int count) {
  const double rough = (high - low) / std::max(count, 1);
  if (!(rough > 0) || !std::isfinite(rough)) return {};
  const double magnitude = std::pow(10, std::floor(std::log10(rough)));
  double step = magnitude * 10;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * magnitude >= rough * 0.999) {
      step = factor * magnitude;
      break;
    }
  }
  std::vector<double> ticks;
  const double first = std::ceil(low / step - 1e-9) * step;
  for (int i = 0; i <= 2 * std::max(count, 1); ++i) {  // a step may be too small to change the number
    const double value = first + i * step;
    if (value > high + 1e-9 * step) break;
    ticks.push_back(std::abs(value) < 1e-9 * step ? 0 : value);
  }
  return ticks;
}

std::string TickText(double value, double step) {
  const int digits = step >= 1 ? 0 : std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 1, 6);
  return Format("{:.{}f}", value, digits);
}

Extent ExtentOf(const std::vector<Curve>& curves) {
  Extent extent{INFINITY, -INFINITY, INFINITY, -INFINITY, 0};
  for (const Curve& curve : curves) {
    extent.letters = std::max(extent.letters, Letters(curve.label));
    for (const auto& [x, y] : curve.points) {
      extent = {std::min(extent.x_low, x), std::max(extent.x_high, x), std::min(extent.y_low, y),
                std::max(extent.y_high, y), extent.letters};
    }
  }
  return extent;
}

void DrawPanel(Html& html, const Panel& panel, const Extent& extent) {
  const double right = kWidth - (extent.letters > 0 ? 8 + kLetter * static_cast<double>(extent.letters) : kRight);
  const Axis x = MakeAxis(extent.x_low, extent.x_high, kLeft, right, 0);
  const Axis y = MakeAxis(extent.y_low, extent.y_high, kHeight - kBottom, kTop, 0.06);

  std::string label = panel.title + ":";
  for (const Curve& curve : panel.curves) label += Format(" {} ends at {:.4g};", curve.arm, curve.points.back().second);
  html.Open(
      "svg",
      {{"viewBox", Format("0 0 {} {}", kWidth, kHeight)}, {"role", "img"}, {"aria-label", label}, {"class", "panel"}});
  const auto y_ticks = Ticks(y.low, y.high, 4), x_ticks = Ticks(x.low, x.high, right - kLeft > 200 ? 5 : 3);
  const double y_step = y_ticks.size() > 1 ? y_ticks[1] - y_ticks[0] : 1,
               x_step = x_ticks.size() > 1 ? x_ticks[1] - x_ticks[0] : 1;
  for (const double tick : y_ticks) {
    html.Void("line", {{"class", "grid"},
                       {"x1", Number(kLeft)},
                       {"x2", Number(right)},
                       {"y1", Number(y.At(tick))},
                       {"y2", Number(y.At(tick))}});
    html.Line("text", TickText(tick, y_step),
              {{"class", "tick end"}, {"x", Number(kLeft - 7)}, {"y", Number(y.At(tick) + 4)}});
  }
  for (const double tick : x_ticks) {
    html.Line("text", TickText(tick, x_step),
              {{"class", "tick middle"}, {"x", Number(x.At(tick))}, {"y", Number(kHeight - kBottom + 17)}});
  }
  html.Line("text", panel.x, {{"class", "tick end"}, {"x", Number(right)}, {"y", Number(kHeight - 3)}});
  for (const bool strong : {false, true}) {
    for (const Curve& curve : panel.curves) {
      if (curve.strong == strong) DrawCurve(html, curve, x, y);
    }
  }
  DrawLabels(html, panel.curves, y, right + 6);
  html.Close();
}

void DrawInterval(Html& html, const IntervalMark& mark) {
  // Positions in percent of the cell, so that the drawing is as wide as its cell while dot and lines keep their size.
  const auto at = [&](double value) {
    return Format("{:.2f}%", 100 * std::clamp((value - mark.low) / (mark.high - mark.low), 0.0, 1.0));
  };
  html.Open("svg", {{"class", "interval"}, {"role", "img"}, {"aria-label", mark.label}});
  html.Void("line", {{"class", "axis"}, {"x1", "0"}, {"x2", "100%"}, {"y1", "12"}, {"y2", "12"}});
  html.Void(
      "line",
      {{"class", "reference"}, {"x1", at(mark.reference)}, {"x2", at(mark.reference)}, {"y1", "1"}, {"y2", "23"}});
  const std::string colour = Format("c{}", mark.colour);
  html.Void("line", {{"class", "range " + colour},
                     {"x1", at(mark.value_low)},
                     {"x2", at(mark.value_high)},
                     {"y1", "12"},
                     {"y2", "12"}});
  html.Void("circle", {{"class", "dot " + colour}, {"cx", at(mark.value)}, {"cy", "12"}, {"r", "5"}});
  html.Close();
}

}  // namespace genview
