// How the two layouts write down their way from a picture to pixels.
#include <algorithm>
#include <cmath>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/models/encoder.h"

namespace genview {
namespace {

[[noreturn]] void Unsupported(std::string what, std::string_view where) {
  throw Error({.what = std::move(what),
               .where = std::string(where),
               .next = "this program resizes the shortest side and crops the centre, or resizes to a square"});
}

// One number for all channels, or one for each.
std::array<double, 3> PerChannel(const Json& json, const char* key, const std::array<double, 3>& fallback,
                                 std::string_view where) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return fallback;
  std::array<double, 3> values{};
  for (size_t c = 0; c < 3; ++c) {
    const Json& value = found->is_array() && found->size() == 3 ? (*found)[c] : *found;
    if (!value.is_number() || !std::isfinite(value.get<double>()))
      Unsupported(Format("`{}` is not 3 numbers", key), where);
    values[c] = value.get<double>();
  }
  return values;
}

// {"height": h, "width": w}, [h, w] or a number: of a square.
int64_t Square(const Json& value, const char* key, std::string_view where) {
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_array() && value.size() == 2 && value[0].is_number_integer() && value[0] == value[1])
    return value[0].get<int64_t>();
  if (value.is_object()) {
    const int64_t height = JsonInt(value, "height", 0, where), width = JsonInt(value, "width", 0, where);
    if (height == width) return height;
  }
  Unsupported(Format("`{}` is {}, which is not a square", key, value.dump().substr(0, 80)), where);
}

void CheckSizes(const Preprocess& p, int64_t image_size, std::string_view where) {
  if (p.size != image_size) {
    Unsupported(Format("pictures of {} px for a tower of {} px", p.size, image_size), where);
  }
  if (p.resize_shortest < 1 || p.resize_shortest > 1 << 14)
    Unsupported(Format("a shortest side of {} px", p.resize_shortest), where);
  if (std::any_of(p.std.begin(), p.std.end(), [](double s) { return !(s > 0); }))
    Unsupported("a standard deviation is not above 0", where);
}

}  // namespace

Preprocess PreprocessFromOpenClip(const Json& config, int64_t image_size, std::string_view where) {
  if (!config.is_object()) Unsupported("`preprocess_cfg` is not an object", where);
  Preprocess p{.size = image_size, .resize_shortest = image_size};
  // `size` is not asked: open_clip makes pictures of the tower's size whatever it says.
  const std::string mode = JsonString(config, "resize_mode", "shortest", where);
  if (mode != "shortest" && mode != "squash") Unsupported(Format("`resize_mode` is \"{}\"", mode), where);
  p.squash = mode == "squash";
  const std::string filter = JsonString(config, "interpolation", "bicubic", where);
  if (filter != "bicubic" && filter != "bilinear" && filter != "random")
    Unsupported(Format("`interpolation` is \"{}\"", filter), where);
  p.filter = filter == "bilinear" ? Filter::kBilinear : Filter::kBicubic;  // open_clip takes bicubic for "random"
  const std::string colours = JsonString(config, "mode", "RGB", where);
  if (colours != "RGB") Unsupported(Format("`mode` is \"{}\"", colours), where);
  p.mean = PerChannel(config, "mean", kClipMean, where);
  p.std = PerChannel(config, "std", kClipStd, where);
  CheckSizes(p, image_size, where);
  return p;
}

Preprocess PreprocessFromHuggingFace(const Json& config, int64_t image_size, std::string_view where) {
  if (!config.is_object()) Unsupported("the preprocessor's config is not an object", where);
  for (const char* step : {"do_resize", "do_center_crop", "do_rescale"}) {
    // Without a crop a square resize is whole; the other steps cannot be missed.
    if (JsonBool(config, step, true, where) || std::string_view(step) == "do_center_crop") continue;
    Unsupported(Format("`{}` is false", step), where);
  }
  Preprocess p{.size = image_size, .resize_shortest = image_size, .floor_crop = true};
  const auto size = config.find("size"), crop = config.find("crop_size");
  if (size == config.end() || size->is_null()) {
    if (crop != config.end() && !crop->is_null()) p.resize_shortest = 224;  // what transformers takes then
  } else {
    if (size->is_object() && size->contains("shortest_edge")) {
      if (!size->value("longest_edge", Json()).is_null())
        Unsupported(Format("`size` is {}, with both edges", size->dump().substr(0, 80)), where);
      p.resize_shortest = JsonInt(*size, "shortest_edge", image_size, where);
    } else {
      p.squash = size->is_object() || size->is_array();  // a bare number means the shortest side
      p.resize_shortest = Square(*size, "size", where);
    }
  }
  if (JsonBool(config, "do_center_crop", true, where)) {
    if (crop != config.end() && !crop->is_null()) p.size = Square(*crop, "crop_size", where);
    if (p.squash && p.size != p.resize_shortest) Unsupported("a crop out of pictures resized to a square", where);
  } else {
    if (!p.squash) Unsupported("`do_center_crop` is false and `size` is not a square", where);
    p.size = p.resize_shortest;
  }
  const int64_t filter = JsonInt(config, "resample", 3, where);  // PIL's number
  if (filter != 2 && filter != 3)
    Unsupported(Format("`resample` is {}, supported are 2 (bilinear) and 3 (bicubic)", filter), where);
  p.filter = filter == 2 ? Filter::kBilinear : Filter::kBicubic;
  const double scale = JsonDouble(config, "rescale_factor", 1.0 / 255, where);
  if (std::abs(scale * 255 - 1) > 1e-6) Unsupported(Format("`rescale_factor` is {}", scale), where);
  if (JsonBool(config, "do_normalize", true, where)) {
    p.mean = PerChannel(config, "image_mean", kClipMean, where);
    p.std = PerChannel(config, "image_std", kClipStd, where);
  } else {
    p.mean = {0, 0, 0};
    p.std = {1, 1, 1};
  }
  CheckSizes(p, image_size, where);
  return p;
}

}  // namespace genview
