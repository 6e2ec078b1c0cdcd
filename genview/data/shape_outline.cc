#include "genview/data/shape_outline.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "genview/base/error.h"

namespace genview {

Point OnCircle(double turns) {
  turns -= std::floor(turns);
  const auto quarter = static_cast<int>(turns * 4 + 0.5) % 4;  // nearest quarter turn; the rest lies within 1/8 turn
  double rest = turns - quarter * 0.25;
  if (rest > 0.5) rest -= 1;
  const double x = rest * 2 * std::numbers::pi, x2 = x * x;
  // Taylor series up to x^14: below 1e-12 for |x| <= pi / 4.
  const double cosine =
      1 - x2 / 2 * (1 - x2 / 12 * (1 - x2 / 30 * (1 - x2 / 56 * (1 - x2 / 90 * (1 - x2 / 132 * (1 - x2 / 182))))));
  const double sine =
      x * (1 - x2 / 6 * (1 - x2 / 20 * (1 - x2 / 42 * (1 - x2 / 72 * (1 - x2 / 110 * (1 - x2 / 156))))));
  switch (quarter) {
    case 0:
      return {cosine, sine};
    case 1:
      return {-sine, cosine};
    case 2:
      return {-cosine, -sine};
    default:
      return {sine, -cosine};
  }
}

namespace {

// `steps` + 1 points on a circle from angle `from` to `to`, in turns.
void AppendArc(Contour& contour, const Point& centre, double radius, double from, double to, int steps) {
  for (int i = 0; i <= steps; ++i) {
    const Point p = OnCircle(from + (to - from) * i / steps);
    contour.push_back({centre.x + radius * p.x, centre.y + radius * p.y});
  }
}

Contour Circle(double radius) {
  Contour contour;
  AppendArc(contour, {}, radius, 0, 1, 64);
  contour.pop_back();  // the first point again
  return contour;
}

Contour Star() {
  Contour contour;
  for (int i = 0; i < 10; ++i) {
    const Point p = OnCircle(-0.25 + i / 10.0);
    const double radius = i % 2 == 0 ? 1.02 : 0.5;
    contour.push_back({p.x * radius, p.y * radius});
  }
  return contour;
}

// A disc less a smaller disc towards the right; its tips lie 50 degrees off the x axis.
Contour Crescent() {
  constexpr double kRadius = 0.95, kTip = 50.0 / 360, kCentre = 0.36;
  constexpr double kInnerTip = 0.1972092;  // angle of the tip seen from the smaller disc's centre, in turns
  const Point tip = OnCircle(kTip);
  const double dx = kRadius * tip.x - kCentre, dy = kRadius * tip.y;
  Contour contour;
  AppendArc(contour, {}, kRadius, kTip, 1 - kTip, 48);
  AppendArc(contour, {kCentre, 0}, std::sqrt(dx * dx + dy * dy), 1 - kInnerTip, kInnerTip, 40);
  return contour;
}

std::vector<Contour> MakeOutline(Form form) {
  switch (form) {
    case Form::kDisc:
      return {Circle(0.92)};
    case Form::kSquare:
      return {{{-0.82, -0.82}, {0.82, -0.82}, {0.82, 0.82}, {-0.82, 0.82}}};
    case Form::kTriangle:
      return {{{0, -0.95}, {0.98, 0.8}, {-0.98, 0.8}}};
    case Form::kStar:
      return {Star()};
    case Form::kCross:
      return {{{-0.3, -0.95},
               {0.3, -0.95},
               {0.3, -0.3},
               {0.95, -0.3},
               {0.95, 0.3},
               {0.3, 0.3},
               {0.3, 0.95},
               {-0.3, 0.95},
               {-0.3, 0.3},
               {-0.95, 0.3},
               {-0.95, -0.3},
               {-0.3, -0.3}}};
    case Form::kRing:
      return {Circle(0.95), Circle(0.5)};
    case Form::kCrescent:
      return {Crescent()};
    case Form::kBeam:
      return {{{-0.8, -0.92},
               {0.8, -0.92},
               {0.8, -0.44},
               {0.24, -0.44},
               {0.24, 0.44},
               {0.8, 0.44},
               {0.8, 0.92},
               {-0.8, 0.92},
               {-0.8, 0.44},
               {-0.24, 0.44},
               {-0.24, -0.44},
               {-0.8, -0.44}}};
    case Form::kArrow:
      return {{{-1, -0.3}, {0.1, -0.3}, {0.1, -0.78}, {1, 0}, {0.1, 0.78}, {0.1, 0.3}, {-1, 0.3}}};
    case Form::kCorner:
      return {{{-0.85, -0.85}, {0.85, -0.85}, {0.85, -0.3}, {-0.3, -0.3}, {-0.3, 0.85}, {-0.85, 0.85}}};
  }
  return {};
}

}  // namespace

const std::vector<Contour>& FormOutline(Form form) {
  static const std::vector<std::vector<Contour>> outlines = [] {
    std::vector<std::vector<Contour>> all;
    for (int64_t i = 0; i < kFormCount; ++i) all.push_back(MakeOutline(static_cast<Form>(i)));
    return all;
  }();
  return outlines[static_cast<size_t>(form)];
}

Affine Affine::Inverse() const {
  const double determinant = a * d - b * c;
  GENVIEW_CHECK(determinant != 0, "this pose flattens the plane");
  Affine inverse{d / determinant, -b / determinant, -c / determinant, a / determinant, 0, 0};
  inverse.x0 = -(inverse.a * x0 + inverse.b * y0);
  inverse.y0 = -(inverse.c * x0 + inverse.d * y0);
  return inverse;
}

std::vector<Contour> MovedBy(const Affine& pose, const std::vector<Contour>& outline) {
  std::vector<Contour> moved = outline;
  for (Contour& contour : moved) {
    for (Point& p : contour) p = pose(p);
  }
  return moved;
}

namespace {

constexpr int64_t kLines = 8;  // per pixel row

// Where one horizontal line crosses the outline.
struct Crossings {
  std::array<double, 16> x{};
  size_t count = 0;
};

void AddEdge(const Point& from, const Point& to, std::vector<Crossings>& lines) {
  const Point& high = from.y < to.y ? from : to;
  const Point& low = from.y < to.y ? to : from;
  if (high.y == low.y) return;
  // Line i runs at y = (i + 0.5) / kLines. Half-open at the lower end, so that a corner counts once.
  const auto last_line = static_cast<double>(lines.size());
  const auto begin = static_cast<int64_t>(std::clamp(std::ceil(high.y * kLines - 0.5), 0.0, last_line));
  const auto end = static_cast<int64_t>(std::clamp(std::ceil(low.y * kLines - 0.5), 0.0, last_line));
  const double slope = (low.x - high.x) / (low.y - high.y);
  for (int64_t i = begin; i < end; ++i) {
    Crossings& line = lines[static_cast<size_t>(i)];
    GENVIEW_CHECK(line.count < line.x.size(), "an outline with this many crossings in a line");
    line.x[line.count++] = high.x + ((static_cast<double>(i) + 0.5) / kLines - high.y) * slope;
  }
}

void AddSpan(double from, double to, int64_t width, float* row) {
  from = std::clamp(from, 0.0, static_cast<double>(width));
  to = std::clamp(to, 0.0, static_cast<double>(width));
  for (auto x = static_cast<int64_t>(from); static_cast<double>(x) < to; ++x) {
    const double left = std::max(from, static_cast<double>(x)), right = std::min(to, static_cast<double>(x + 1));
    row[x] += static_cast<float>((right - left) / kLines);
  }
}

}  // namespace

std::vector<float> Coverage(const std::vector<Contour>& outline, int64_t width, int64_t height) {
  std::vector<Crossings> lines(static_cast<size_t>(height * kLines));
  for (const Contour& contour : outline) {
    for (size_t i = 0; i < contour.size(); ++i) AddEdge(contour[i], contour[(i + 1) % contour.size()], lines);
  }
  std::vector<float> share(static_cast<size_t>(width * height));
  for (size_t i = 0; i < lines.size(); ++i) {
    Crossings& line = lines[i];
    std::sort(line.x.begin(), line.x.begin() + line.count);
    float* row = share.data() + static_cast<int64_t>(i) / kLines * width;
    for (size_t k = 0; k + 1 < line.count; k += 2) AddSpan(line.x[k], line.x[k + 1], width, row);
  }
  return share;
}

}  // namespace genview
