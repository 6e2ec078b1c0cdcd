#include "genview/data/shapes.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "genview/base/random.h"
#include "genview/data/shape_caption.h"
#include "genview/data/shape_outline.h"

namespace genview {

namespace {

// One draw per statement or brace: the order in which a call's arguments are evaluated is the compiler's choice.
using Colour = std::array<float, 3>;  // R G B in [0, 1]

Colour Mix(const Colour& a, const Colour& b, float t) {
  return {a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t};
}

float Luma(const Colour& c) { return 0.299f * c[0] + 0.587f * c[1] + 0.114f * c[2]; }

Colour FromHsv(double hue, double saturation, double value) {
  const double h = (hue - std::floor(hue)) * 6;
  const auto channel = [&](double shift) {
    const double k = shift + h >= 6 ? shift + h - 6 : shift + h;
    const double ramp = std::clamp(std::min(k, 4 - k), 0.0, 1.0);
    return static_cast<float>(value * (1 - saturation * ramp));
  };
  return {channel(5), channel(3), channel(1)};
}

// A hue within the range that people call by the name of that index (kHueCount names, red first).
double DrawHue(Random& random, int64_t name) {
  constexpr std::array<double, kHueCount + 1> kEdges{-12, 14, 42, 68, 160, 200, 252, 290, 348};  // degrees
  const auto i = static_cast<size_t>(name);
  return random.Uniform(kEdges[i], kEdges[i + 1]) / 360;
}

// A repeating pattern of two colours over the plane.
struct Texture {
  Pattern pattern = Pattern::kPlain;
  Point axis;  // unit vector across the stripes
  double period = 1, phase_u = 0, phase_v = 0;

  // Share of the second colour at p, [0, 1]; edges are `pixel` wide, the size of a pixel in the plane of p.
  double operator()(const Point& p, double pixel) const;
};

double Soft(double distance, double pixel) { return std::clamp(0.5 + distance / pixel, 0.0, 1.0); }

double FromMiddle(double x) {  // of its cell: [-0.5, 0.5)
  return x - std::floor(x) - 0.5;
}

double Texture::operator()(const Point& p, double pixel) const {
  if (pattern == Pattern::kPlain) return 0;
  const double along = p.x * axis.x + p.y * axis.y, across = p.y * axis.x - p.x * axis.y;
  if (pattern == Pattern::kShaded) return std::clamp(0.5 + 0.55 * along, 0.0, 1.0);
  const double u = FromMiddle(along / period + phase_u), v = FromMiddle(across / period + phase_v);
  const auto band = [&](double x) { return Soft((0.25 - std::abs(x)) * period, pixel); };
  if (pattern == Pattern::kStriped) return band(u);
  if (pattern == Pattern::kDotted) return Soft((0.3 - std::sqrt(u * u + v * v)) * period, pixel);
  const double a = band(u), b = band(v);
  return a + b - 2 * a * b;  // checked: one of the two, not both
}

Texture DrawTexture(Random& random, double period_low, double period_high) {
  Texture texture;
  texture.pattern = static_cast<Pattern>(random.Below(kPatternCount));
  texture.axis = OnCircle(random.Uniform());
  texture.period = random.Uniform(period_low, period_high);
  texture.phase_u = random.Uniform();
  texture.phase_v = random.Uniform();
  return texture;
}

// Colours at the corners of a grid over the picture, blended smoothly in between.
class SmoothNoise {
 public:
  SmoothNoise(Random& random, int64_t cells, double amplitude, double coloured) : cells_(cells) {
    for (int64_t i = 0; i < (cells + 1) * (cells + 1); ++i) {
      const double grey = random.Uniform(-amplitude, amplitude);
      Colour c;
      for (float& channel : c) {
        channel = static_cast<float>(grey * (1 - coloured) + random.Uniform(-amplitude, amplitude) * coloured);
      }
      corners_.push_back(c);
    }
  }

  // Adds one pixel row, at height y in [0, 1), to `row`.
  void AddRow(double y, std::vector<Colour>& row) const {
    const auto [top, ty] = Cell(y);
    for (size_t x = 0; x < row.size(); ++x) {
      const auto [left, tx] = Cell((static_cast<double>(x) + 0.5) / static_cast<double>(row.size()));
      const Colour* corner = corners_.data() + top * (cells_ + 1) + left;
      const Colour value = Mix(Mix(corner[0], corner[1], tx), Mix(corner[cells_ + 1], corner[cells_ + 2], tx), ty);
      for (size_t k = 0; k < 3; ++k) row[x][k] += value[k];
    }
  }

 private:
  struct Place {
    int64_t cell;
    float t;
  };
  Place Cell(double x) const {
    const double scaled = x * static_cast<double>(cells_);
    const auto cell = static_cast<int64_t>(scaled);
    const double t = scaled - static_cast<double>(cell);
    return {cell, static_cast<float>(t * t * (3 - 2 * t))};
  }

  int64_t cells_;
  std::vector<Colour> corners_;
};

struct Object {
  Affine pose;       // from the form's plane to pixels
  double scale = 1;  // half of the form's extent, in half picture widths
  Point offset;      // of its centre, in picture widths
  Texture texture;   // in the form's plane: it moves and turns with the object
  Colour first, second;
  int64_t hue = 0;
};

Object DrawObject(Random& random, double size) {
  Object object;
  // Mostly over all scales, some more of the large ones: the object takes from 5% to over 90% of the picture.
  object.scale = random.Chance(0.8) ? random.Uniform(0.5, 1.2) : random.Uniform(0.95, 1.22);
  const double room = 0.05 + 0.22 * std::max(0.0, 1.15 - object.scale);
  object.offset = {random.Uniform(-room, room), random.Uniform(-room, room)};
  const double turn = random.Uniform(-0.5, 0.5) / 6.283185307179586;  // within half a radian
  const double stretch = random.Uniform(0.88, 1.14), shear = random.Uniform(-0.14, 0.14);
  const Point axis = OnCircle(turn);
  const double half = object.scale * size / 2, wide = half * stretch, high = half / stretch;
  object.pose = {axis.x * wide,
                 (axis.x * shear - axis.y) * high,
                 axis.y * wide,
                 (axis.y * shear + axis.x) * high,
                 (0.5 + object.offset.x) * size,
                 (0.5 + object.offset.y) * size};

  object.hue = random.Below(kHueCount);
  const double hue = DrawHue(random, object.hue);
  const double saturation = random.Uniform(0.62, 0.98), value = random.Uniform(0.85, 1.0);
  object.first = FromHsv(hue, saturation, value);
  // Blue and purple are dark to the eye at full saturation: lighten them until the object stands out.
  const float lack = std::max(0.0f, 0.42f - Luma(object.first));
  object.first = Mix(object.first, {1, 1, 1}, lack / (1 - Luma(object.first)));
  object.texture = DrawTexture(random, 0.42, 0.8);
  const double other_hue = hue + random.Uniform(-0.06, 0.06), other_value = random.Uniform(0.54, 0.66);
  const bool shaded = object.texture.pattern == Pattern::kShaded;
  object.second = Mix(object.first, FromHsv(other_hue, 0.85, other_value), shaded ? 0.75f : 0.9f);
  return object;
}

struct Ground {
  Colour base, tint;  // tint: the second colour of the texture, close to the first
  Texture texture;    // over [-1, 1] x [-1, 1]
  int64_t hue = -1;
  double value = 0;
};

Ground DrawGround(Random& random) {
  Ground ground;
  ground.value = random.Uniform(0.08, 0.42);
  const bool grey = random.Chance(0.2);
  const int64_t name = random.Below(kHueCount);
  const double hue = DrawHue(random, name);
  ground.hue = grey ? -1 : name;
  ground.base = FromHsv(hue, grey ? 0.05 : random.Uniform(0.22, 0.42), ground.value);
  ground.texture = DrawTexture(random, 0.28, 0.6);
  const double step = random.Uniform(0.05, 0.1);
  const bool darker = random.Chance(0.5) && ground.value > 0.2;
  for (size_t k = 0; k < 3; ++k) ground.tint[k] = ground.base[k] + static_cast<float>(darker ? -step : step);
  return ground;
}

// Noise as of a sensor, for every value: triangular in [-1, 1].
class Grain {
 public:
  explicit Grain(Seed seed) : random_(seed) {}
  Colour Next() {
    const uint32_t a = random_.Next(), b = random_.Next();
    const auto byte = [](uint32_t word, int shift) { return static_cast<float>(word >> shift & 255u); };
    return {(byte(a, 0) + byte(b, 0)) / 255 - 1, (byte(a, 8) + byte(b, 8)) / 255 - 1,
            (byte(a, 16) + byte(b, 16)) / 255 - 1};
  }

 private:
  Random random_;
};

uint8_t ToByte(float value) { return static_cast<uint8_t>(std::clamp(value, 0.0f, 1.0f) * 255.0f + 0.5f); }

}  // namespace

int64_t ShapeLabel(const ShapesConfig& config, int64_t index) {
  const Seed block = Seed(config.seed).With("shape labels").With(static_cast<uint64_t>(index / kFormCount));
  return Permutation(block, kFormCount)[static_cast<size_t>(index % kFormCount)];
}

ShapesPicture DrawShape(const ShapesConfig& config, int64_t index) {
  const int64_t size = config.size;
  const auto width = static_cast<double>(size);
  const Seed seed = Seed(config.seed).With("shapes").With(static_cast<uint64_t>(index));
  const int64_t label = ShapeLabel(config, index);

  // The object's form is no part of what these are drawn from: nothing else in the picture tells the class.
  Random random(seed);
  const Object object = DrawObject(random, width);
  const Ground ground = DrawGround(random);
  const SmoothNoise coarse(random, 3, 0.1, 0.6), fine(random, 9, 0.05, 0.5);
  const double grain_size = random.Uniform(0.01, 0.035);

  const auto& outline = FormOutline(static_cast<Form>(label));
  const std::vector<float> cover = Coverage(MovedBy(object.pose, outline), size, size);
  const Affine to_form = object.pose.Inverse();
  const double ground_pixel = 2 / width, form_pixel = ground_pixel / object.scale;
  Grain grain(seed.With("grain"));

  ShapesPicture picture{.image = Image(size, size), .mask = GrayImage(size, size), .label = label, .caption = {}};
  int64_t inside = 0;
  std::vector<Colour> row(static_cast<size_t>(size));
  for (int64_t y = 0; y < size; ++y) {
    std::fill(row.begin(), row.end(), Colour{});
    coarse.AddRow((static_cast<double>(y) + 0.5) / width, row);
    fine.AddRow((static_cast<double>(y) + 0.5) / width, row);
    for (int64_t x = 0; x < size; ++x) {
      const Point pixel{static_cast<double>(x) + 0.5, static_cast<double>(y) + 0.5};
      const float share = std::min(cover[static_cast<size_t>(y * size + x)], 1.0f);
      Colour colour = row[static_cast<size_t>(x)];
      const Point place{pixel.x * ground_pixel - 1, pixel.y * ground_pixel - 1};
      const Colour behind = Mix(ground.base, ground.tint, static_cast<float>(ground.texture(place, ground_pixel)));
      for (size_t k = 0; k < 3; ++k) colour[k] += behind[k];
      if (share > 0) {
        const double second = object.texture(to_form(pixel), form_pixel);
        colour = Mix(colour, Mix(object.first, object.second, static_cast<float>(second)), share);
      }
      const Colour noise = grain.Next();
      uint8_t* out = picture.image.at(x, y);
      for (size_t k = 0; k < 3; ++k) out[k] = ToByte(colour[k] + noise[k] * static_cast<float>(grain_size));
      const bool in_object = share >= 0.5f;
      picture.mask.pixels[static_cast<size_t>(y * size + x)] = in_object ? 255 : 0;
      inside += in_object;
    }
  }
  picture.foreground = static_cast<double>(inside) / static_cast<double>(size * size);
  picture.caption = Caption({.form = static_cast<Form>(label),
                             .pattern = object.texture.pattern,
                             .background_pattern = ground.texture.pattern,
                             .hue = object.hue,
                             .background_hue = ground.hue,
                             .background_value = ground.value,
                             .foreground = picture.foreground,
                             .offset_x = object.offset.x,
                             .offset_y = object.offset.y});
  return picture;
}

}  // namespace genview
