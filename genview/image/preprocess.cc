#include "genview/image/preprocess.h"

#include <algorithm>
#include <cmath>

#include "genview/base/text.h"

namespace genview {
namespace {

constexpr int64_t kLargestSide = 1 << 14;

// Where a crop of `crop` pixels begins in `side` pixels; negative: so many black pixels come first.
int64_t CropOffset(int64_t side, int64_t crop, bool floor) {
  const int64_t rest = side - crop;
  if (floor) return rest >= 0 ? rest / 2 : -((1 - rest) / 2);
  if (rest < 0) return -(-rest / 2);
  // round(rest / 2) with halves to the even number, as Python rounds.
  return rest / 2 + (rest % 2 == 1 && rest / 2 % 2 == 1 ? 1 : 0);
}

[[noreturn]] void ThrowBadValue(const std::string& problem, std::string_view where) {
  throw Error({.what = "a preprocessing rule that cannot be used: " + problem,
               .where = std::string(where),
               .next = "check that the file is the one that belongs to this encoder"});
}

std::array<double, 3> Channels(const Json& json, const char* key, const std::array<double, 3>& fallback,
                               std::string_view where) {
  const auto found = json.find(key);
  if (found == json.end()) return fallback;
  std::array<double, 3> values{};
  if (!found->is_array() || found->size() != 3) ThrowBadValue(Format("`{}` is not a list of 3 numbers", key), where);
  for (size_t c = 0; c < 3; ++c) {
    if (!(*found)[c].is_number()) ThrowBadValue(Format("`{}` is not a list of 3 numbers", key), where);
    values[c] = (*found)[c].get<double>();
  }
  return values;
}

// value[c][v] = (v / 255 - mean) / std in float, as tensors are normalised elsewhere.
struct NormaliseTable {
  float value[3][256];

  NormaliseTable(const std::array<double, 3>& mean, const std::array<double, 3>& std) {
    for (size_t c = 0; c < 3; ++c) {
      const auto m = static_cast<float>(mean[c]), s = static_cast<float>(std[c]);
      for (int v = 0; v < 256; ++v) value[c][v] = (static_cast<float>(v) / 255.0f - m) / s;
    }
  }
};

}  // namespace

Json Preprocess::ToJson() const {
  Json json = {{"size", size},
               {"resize_shortest", resize_shortest},
               {"squash", squash},
               {"filter", FilterName(filter)},
               {"floor_crop", floor_crop},
               {"mean", mean},
               {"std", std}};
  // What is rare is written only where it says something: fingerprints are made of this.
  if (resize_width > 0) json.update({{"resize_width", resize_width}, {"resize_height", resize_height}});
  if (pad) json.update({{"pad", true}, {"fill", fill}});
  return json;
}

Preprocess Preprocess::FromJson(const Json& json, std::string_view where) {
  if (!json.is_object()) ThrowBadValue("it is not an object", where);
  Preprocess p;
  p.size = JsonInt(json, "size", p.size, where);
  p.resize_shortest = JsonInt(json, "resize_shortest", p.size, where);
  p.squash = JsonBool(json, "squash", p.squash, where);
  p.floor_crop = JsonBool(json, "floor_crop", p.floor_crop, where);
  p.resize_width = JsonInt(json, "resize_width", 0, where);
  p.resize_height = JsonInt(json, "resize_height", 0, where);
  p.pad = JsonBool(json, "pad", false, where);
  const int64_t fill = JsonInt(json, "fill", 0, where);
  if (fill < 0 || fill > 255) ThrowBadValue(Format("a fill of {}", fill), where);
  p.fill = static_cast<uint8_t>(fill);
  const std::string name = JsonString(json, "filter", "bicubic", where);
  const std::optional<Filter> filter = FilterOfName(name);
  if (!filter) ThrowBadValue(Format("there is no filter `{}`", name), where);
  p.filter = *filter;
  p.mean = Channels(json, "mean", p.mean, where);
  p.std = Channels(json, "std", p.std, where);
  if (p.size < 1 || p.size > kLargestSide) ThrowBadValue(Format("a size of {} pixels", p.size), where);
  if (p.resize_shortest < 0 || p.resize_shortest > kLargestSide) {
    ThrowBadValue(Format("a shortest side of {} pixels", p.resize_shortest), where);
  }
  if (std::min(p.resize_width, p.resize_height) < 0 || std::max(p.resize_width, p.resize_height) > kLargestSide ||
      (p.resize_width == 0) != (p.resize_height == 0)) {
    ThrowBadValue(Format("a resize to {} x {} pixels", p.resize_width, p.resize_height), where);
  }
  if (!std::all_of(p.std.begin(), p.std.end(), [](double s) { return s > 0; })) {
    ThrowBadValue("a standard deviation is not above 0", where);
  }
  return p;
}

Geometry GeometryOf(const Preprocess& p, int64_t width, int64_t height) {
  if (p.squash) return {p.size, p.size, {0, 0, p.size, p.size}};
  if (p.pad) {
    const double ratio = static_cast<double>(std::max(width, height)) / static_cast<double>(p.size);
    for (int64_t* side : {&width, &height})
      *side = std::max<int64_t>(1, std::llrint(static_cast<double>(*side) / ratio));
  } else if (p.resize_width > 0) {
    width = p.resize_width;
    height = p.resize_height;
  } else if (p.resize_shortest > 0) {
    const int64_t shortest = std::min(width, height);
    width = p.resize_shortest * width / shortest;
    height = p.resize_shortest * height / shortest;
  }
  return {width,
          height,
          {CropOffset(width, p.size, p.floor_crop), CropOffset(height, p.size, p.floor_crop), p.size, p.size}};
}

Image ApplyGeometry(const Preprocess& p, const Image& image) {
  const Geometry g = GeometryOf(p, image.width, image.height);
  return ResizeCrop(image, g.width, g.height, g.crop, p.filter, p.fill);
}

void Normalise(const Image& image, const std::array<double, 3>& mean, const std::array<double, 3>& std,
               std::span<float> out) {
  const size_t plane = static_cast<size_t>(image.width * image.height);
  GENVIEW_CHECK(out.size() == 3 * plane, "the output has not 3 * H * W places");
  const NormaliseTable table(mean, std);
  const uint8_t* pixel = image.pixels.data();
  float *red = out.data(), *green = red + plane, *blue = green + plane;
  for (size_t i = 0; i < plane; ++i, pixel += 3) {
    red[i] = table.value[0][pixel[0]];
    green[i] = table.value[1][pixel[1]];
    blue[i] = table.value[2][pixel[2]];
  }
}

void NormaliseChannelsLast(const Image& image, const std::array<double, 3>& mean, const std::array<double, 3>& std,
                           std::span<float> out) {
  GENVIEW_CHECK(out.size() == image.pixels.size(), "the output has not H * W * 3 places");
  const NormaliseTable table(mean, std);
  const uint8_t* pixel = image.pixels.data();
  float* target = out.data();
  for (int64_t i = 0; i < image.width * image.height; ++i, pixel += 3, target += 3) {
    for (int c = 0; c < 3; ++c) target[c] = table.value[c][pixel[c]];
  }
}

}  // namespace genview
