// Resizing as Pillow does it: a horizontal and a vertical pass of a filter whose support grows with the scale. Each
// pass sums in fixed point of 22 bits and rounds to 8 bits, so the result is the same on every machine, and depends on
// which pass comes first (see VerticalFirst).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numbers>

#include "genview/image/image.h"
#include "genview/image/resize_kernels.h"
#include "genview/image/simd.h"

namespace genview {
namespace {

using resize::Rows;
using resize::Taps;

constexpr std::pair<Filter, const char*> kFilterNames[] = {
    {Filter::kNearest, "nearest"}, {Filter::kLanczos, "lanczos"}, {Filter::kBilinear, "bilinear"},
    {Filter::kBicubic, "bicubic"}, {Filter::kBox, "box"},         {Filter::kHamming, "hamming"}};

double Support(Filter filter) {
  if (filter == Filter::kBox) return 0.5;
  if (filter == Filter::kLanczos) return 3.0;
  return filter == Filter::kBicubic ? 2.0 : 1.0;
}

double Sinc(double x) { return x == 0.0 ? 1.0 : std::sin(x * std::numbers::pi) / (x * std::numbers::pi); }

double Cubic(double x) {
  constexpr double a = -0.5;  // Keys' cubic
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

double FilterValue(Filter filter, double x) {
  if (filter == Filter::kBox) return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
  if (filter == Filter::kLanczos) return x >= -3.0 && x < 3.0 ? Sinc(x) * Sinc(x / 3) : 0.0;
  x = std::fabs(x);
  if (filter == Filter::kBicubic) return Cubic(x);
  if (filter == Filter::kBilinear) return x < 1.0 ? 1.0 - x : 0.0;
  return x < 1.0 ? Sinc(x) * (0.54 + 0.46 * std::cos(x * std::numbers::pi)) : 0.0;  // kHamming
}

// A stretch of a row or a column.
struct Span {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// The weights of `part` of the `to` pixels that are made of `from` pixels.
Taps MakeTaps(int64_t from, int64_t to, const Span& part, Filter filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(to), stretch = std::max(scale, 1.0);
  const double support = Support(filter) * stretch, inverse = 1.0 / stretch;
  Taps taps;
  taps.capacity = static_cast<int64_t>(std::ceil(support)) * 2 + 2;
  taps.first.resize(static_cast<size_t>(part.size()));
  taps.count.resize(static_cast<size_t>(part.size()));
  taps.weight.resize(static_cast<size_t>(part.size() * taps.capacity));
  std::vector<double> values(static_cast<size_t>(taps.capacity));
  for (int64_t i = 0; i < part.size(); ++i) {
    const double center = (static_cast<double>(part.begin + i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
    const int64_t count = std::min<int64_t>(static_cast<int64_t>(center + support + 0.5), from) - first;
    double sum = 0;
    for (int64_t k = 0; k < count; ++k) {
      values[static_cast<size_t>(k)] = FilterValue(filter, (static_cast<double>(k + first) - center + 0.5) * inverse);
      sum += values[static_cast<size_t>(k)];
    }
    int32_t* weight = taps.weight.data() + i * taps.capacity;
    for (int64_t k = 0; k < count; ++k) {
      const double value = (sum != 0 ? values[static_cast<size_t>(k)] / sum : values[static_cast<size_t>(k)]) *
                           (1 << resize::kFractionBits);
      weight[k] = static_cast<int32_t>(value < 0 ? value - 0.5 : value + 0.5);
    }
    taps.first[static_cast<size_t>(i)] = static_cast<int32_t>(first);
    taps.count[static_cast<size_t>(i)] = static_cast<int32_t>(count);
  }
  resize::Pack(taps);
  return taps;
}

bool Fast(const Taps& taps) { return HasAvx2() && taps.capacity <= resize::kMostFastTaps; }

// A piece of memory that is not set to zero first.
struct Buffer {
  explicit Buffer(int64_t bytes) : data(new uint8_t[static_cast<size_t>(bytes)]) {}
  std::unique_ptr<uint8_t[]> data;
};

// Pixels of R G B that are read: `readable_end` is the end of the memory, which may lie behind the last row.
struct Source {
  const uint8_t* pixels;
  int64_t stride;
  int64_t width, height;
  const uint8_t* readable_end;
};

// The fast loop reads a little behind each row. Inside the memory that does no harm; behind its end it would, so the
// last rows are read from a copy.
void Horizontal(const Source& source, const Taps& taps, uint8_t* out, int64_t out_stride) {
  const Rows rows{source.pixels, source.stride, out, out_stride};
  if (!Fast(taps)) return resize::HorizontalPlain(taps, rows, source.height);
  const int64_t bytes = source.width * 3;
  int64_t safe = source.height;
  while (safe > 0 && source.readable_end - (rows.in + (safe - 1) * source.stride + bytes) < resize::kReadPast) --safe;
  resize::HorizontalAvx2(taps, rows, safe);
  if (safe == source.height) return;
  const Buffer copy(bytes + resize::kReadPast);
  std::memset(copy.data.get() + bytes, 0, resize::kReadPast);
  for (int64_t y = safe; y < source.height; ++y) {
    std::memcpy(copy.data.get(), rows.in + y * source.stride, static_cast<size_t>(bytes));
    resize::HorizontalAvx2(taps, {copy.data.get(), 0, out + y * out_stride, out_stride}, 1);
  }
}

void Vertical(const Rows& rows, const Taps& taps, int64_t bytes) {
  if (Fast(taps)) resize::VerticalAvx2(taps, rows, bytes);
  else resize::VerticalPlain(taps, rows, bytes);
}

bool Contains(const Box& outer, const Box& inner) {
  return inner.x >= outer.x && inner.y >= outer.y && inner.x + inner.width <= outer.x + outer.width &&
         inner.y + inner.height <= outer.y + outer.height;
}

Box Whole(int64_t width, int64_t height) { return {0, 0, width, height}; }

// One direction: the weights of the part of the output that is wanted, and the part of the input that they touch.
struct Pass {
  bool changes;
  Span needed;
  Taps taps;  // counted from needed.begin; empty when the pass changes nothing

  Pass(int64_t from, int64_t to, const Span& part, Filter filter) : changes(from != to), needed(part) {
    if (!changes) return;
    taps = MakeTaps(from, to, part, filter);
    needed = {taps.first.front(), taps.first.back() + taps.count.back()};
    for (int32_t& first : taps.first) first -= static_cast<int32_t>(needed.begin);
  }
};

// Since version 13 Pillow begins with the vertical pass where it takes away more than twice as many rows as the other
// one takes away columns.
bool VerticalFirst(const Box& box, int64_t width, int64_t height) {
  return height < box.height && box.height - height > 2 * (box.width - width);
}

// The pixel of `from` under the centre of each of `part` of `to` pixels. The step is added up, as Pillow does it.
std::vector<int64_t> Nearest(int64_t from, int64_t to, const Span& part) {
  const double step = static_cast<double>(from) / static_cast<double>(to);
  std::vector<int64_t> places;
  double place = step * 0.5;
  for (int64_t i = 0; i < part.end; ++i, place += step) {
    if (i >= part.begin) places.push_back(std::min(static_cast<int64_t>(place), from - 1));
  }
  return places;
}

Image NearestPart(const Image& image, const Box& box, int64_t width, int64_t height, const Box& window) {
  const auto columns = Nearest(box.width, width, {window.x, window.x + window.width});
  const auto rows = Nearest(box.height, height, {window.y, window.y + window.height});
  Image result(window.width, window.height);
  uint8_t* out = result.pixels.data();
  for (const int64_t row : rows) {
    for (const int64_t column : columns) out = std::copy_n(image.at(box.x + column, box.y + row), 3, out);
  }
  return result;
}

// `window` of what `box` of the picture becomes at width x height. Both lie inside; a pass that changes nothing is left
// out, and the first pass makes only what the second one needs.
Image ResizePart(const Image& image, const Box& box, int64_t width, int64_t height, const Box& window, Filter filter) {
  if (filter == Filter::kNearest) return NearestPart(image, box, width, height, window);
  const Pass across(box.width, width, {window.x, window.x + window.width}, filter);
  const Pass down(box.height, height, {window.y, window.y + window.height}, filter);
  const Box needed{box.x + across.needed.begin, box.y + down.needed.begin, across.needed.size(), down.needed.size()};
  if (!across.changes && !down.changes) return Crop(image, needed);

  Image result(window.width, window.height);
  const int64_t stride = image.width * 3, out_stride = window.width * 3;
  const uint8_t* begin = image.at(needed.x, needed.y);
  const Source source{begin, stride, needed.width, needed.height, image.pixels.data() + image.pixels.size()};
  if (!down.changes) {
    Horizontal(source, across.taps, result.pixels.data(), out_stride);
  } else if (!across.changes) {
    Vertical({begin, stride, result.pixels.data(), out_stride}, down.taps, out_stride);
  } else if (VerticalFirst(box, width, height)) {
    const int64_t half_stride = needed.width * 3, half_bytes = half_stride * window.height + resize::kReadPast;
    const Buffer half(half_bytes);
    Vertical({begin, stride, half.data.get(), half_stride}, down.taps, half_stride);
    std::memset(half.data.get() + half_bytes - resize::kReadPast, 0, resize::kReadPast);
    Horizontal({half.data.get(), half_stride, needed.width, window.height, half.data.get() + half_bytes}, across.taps,
               result.pixels.data(), out_stride);
  } else {
    const Buffer half(out_stride * needed.height);
    Horizontal(source, across.taps, half.data.get(), out_stride);
    Vertical({half.data.get(), out_stride, result.pixels.data(), out_stride}, down.taps, out_stride);
  }
  return result;
}

}  // namespace

const char* FilterName(Filter filter) {
  return std::find_if(std::begin(kFilterNames), std::end(kFilterNames),
                      [&](const auto& known) { return known.first == filter; })
      ->second;
}

std::optional<Filter> FilterOfName(std::string_view name) {
  for (const auto& [filter, known] : kFilterNames) {
    if (name == known) return filter;
  }
  return std::nullopt;
}

Image ResizeBox(const Image& image, const Box& box, int64_t width, int64_t height, Filter filter) {
  GENVIEW_CHECK(box.width > 0 && box.height > 0 && width > 0 && height > 0, "a picture without pixels");
  if (!Contains(Whole(image.width, image.height), box)) return Resize(Crop(image, box), width, height, filter);
  return ResizePart(image, box, width, height, Whole(width, height), filter);
}

Image Resize(const Image& image, int64_t width, int64_t height, Filter filter) {
  return ResizeBox(image, Whole(image.width, image.height), width, height, filter);
}

Image Shrink(const Image& image, int64_t longest_side) {
  const int64_t longest = std::max(image.width, image.height);
  if (longest <= longest_side) return image;
  const auto scaled = [&](int64_t extent) {
    return std::max<int64_t>(1, (extent * longest_side + longest / 2) / longest);
  };
  return Resize(image, scaled(image.width), scaled(image.height), Filter::kBicubic);
}

Image ResizeCrop(const Image& image, int64_t width, int64_t height, const Box& window, Filter filter, uint8_t fill) {
  GENVIEW_CHECK(image.width > 0 && image.height > 0 && width > 0 && height > 0, "a picture without pixels");
  const int64_t left = std::max<int64_t>(window.x, 0), right = std::min(window.x + window.width, width);
  const int64_t top = std::max<int64_t>(window.y, 0), bottom = std::min(window.y + window.height, height);
  if (left >= right || top >= bottom) return Crop(image, {-window.width, 0, window.width, window.height}, fill);
  const Box visible{left, top, right - left, bottom - top};
  Image part = ResizePart(image, Whole(image.width, image.height), width, height, visible, filter);
  if (Contains(Whole(width, height), window)) return part;
  return Crop(part, {window.x - left, window.y - top, window.width, window.height}, fill);
}

}  // namespace genview
