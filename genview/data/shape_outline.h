// Forms as polygons, and how much of each pixel a polygon covers. No call into libm: its results may differ in the
// last bit between processors, and these pictures are to be the same bytes everywhere.
//
//   std::vector<Contour> star = FormOutline(Form::kStar);     // in [-1, 1], y downwards
//   std::vector<float> share = Coverage(MovedBy(pose, star), width, height);
#pragma once

#include <cstdint>
#include <vector>

namespace genview {

enum class Form { kArrow, kBeam, kCorner, kCrescent, kCross, kDisc, kRing, kSquare, kStar, kTriangle };  // by name
inline constexpr int64_t kFormCount = 10;

struct Point {
  double x = 0, y = 0;
};
using Contour = std::vector<Point>;  // closed; a point is inside where the contours enclose it an odd number of times

// Cosine and sine of an angle in turns (1 = 360 degrees), to about 1e-12, by plain additions and products.
Point OnCircle(double turns);

const std::vector<Contour>& FormOutline(Form form);

// x' = a x + b y + x0, y' = c x + d y + y0.
struct Affine {
  double a = 1, b = 0, c = 0, d = 1, x0 = 0, y0 = 0;

  Point operator()(const Point& p) const { return {a * p.x + b * p.y + x0, c * p.x + d * p.y + y0}; }
  Affine Inverse() const;
};

std::vector<Contour> MovedBy(const Affine& pose, const std::vector<Contour>& outline);

// Share of each pixel inside the outline, [0, 1], row-major; pixel (x, y) is the square from (x, y) to (x+1, y+1).
// Exact along x, eight lines a pixel along y.
std::vector<float> Coverage(const std::vector<Contour>& outline, int64_t width, int64_t height);

}  // namespace genview
