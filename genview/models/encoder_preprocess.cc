// How the two layouts write down their way from a picture to pixels.
#include <algorithm>
#include <cmath>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/models/encoder.h"

namespace genview {
namespace {

[[noreturn]] void Unsupported(std::string what, std::string_view where) {
  throw Error(
      {.what = std::move(what),
       .where = std::string(where),
       .next = "this program resizes the shortest side or to a given size and crops the centre, or puts bars around"});
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
  Unsupported(Format("`{}` is {}, which is not a square", key, Printable(value.dump(), 80)), where);
}

void CheckSizes(const Preprocess& p, int64_t image_size, std::string_view where) {
  if (p.size != image_size) {
    Unsupported(Format("pictures of {} px for a tower of {} px", p.size, image_size), where);
  }
  constexpr int64_t kLargest = 1 << 14;
  if (p.resize_shortest < 0 || p.resize_shortest > kLargest)
    Unsupported(Format("a shortest side of {} px", p.resize_shortest), where);
  if (std::max(p.resize_width, p.resize_height) > kLargest)
    Unsupported(Format("a resize to {} x {} px", p.resize_width, p.resize_height), where);
  if (std::any_of(p.std.begin(), p.std.end(), [](double s) { return !(s > 0); }))
    Unsupported("a standard deviation is not above 0", where);
}

}  // namespace

Preprocess PreprocessFromOpenClip(const Json& config, int64_t image_size, std::string_view where) {
  if (!config.is_object()) Unsupported("`preprocess_cfg` is not an object", where);
  Preprocess p{.size = image_size, .resize_shortest = image_size};
  // `size` is not asked: open_clip makes pictures of the tower's size whatever it says.
  const std::string mode = JsonString(config, "resize_mode", "shortest", where);
  if (mode != "shortest" && mode != "squash" && mode != "longest")
    Unsupported(Format("`resize_mode` is \"{}\"", mode), where);
  p.squash = mode == "squash";
  p.pad = mode == "longest";
  if (p.pad) {
    const int64_t fill = JsonInt(config, "fill_color", 0, where);
    if (fill < 0 || fill > 255) Unsupported(Format("`fill_color` is {}, allowed are 0 to 255", fill), where);
    p.fill = static_cast<uint8_t>(fill);
  }
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

namespace {

// What transformers takes for `size` where the file has a `crop_size` and no `size`.
constexpr int64_t kUsualEdge = 224;

void ReadSize(const Json& config, Preprocess& p, std::string_view where) {
  const auto size = config.find("size");
  if (size == config.end() || size->is_null()) {
    if (!config.value("crop_size", Json()).is_null()) p.resize_shortest = kUsualEdge;
    return;
  }
  const std::string shown = Printable(size->dump(), 80);
  if (size->is_object() && size->contains("shortest_edge")) {
    if (!size->value("longest_edge", Json()).is_null())
      Unsupported(Format("`size` is {}, with both edges", shown), where);
    p.resize_shortest = JsonInt(*size, "shortest_edge", p.size, where);
  } else if (size->is_object()) {
    p.resize_width = JsonInt(*size, "width", 0, where);
    p.resize_height = JsonInt(*size, "height", 0, where);
    if (std::min(p.resize_width, p.resize_height) < 1) Unsupported(Format("`size` is {}", shown), where);
    p.resize_shortest = std::min(p.resize_width, p.resize_height);
  } else {
    p.resize_shortest = Square(*size, "size", where);
    if (size->is_array()) p.resize_width = p.resize_height = p.resize_shortest;  // a bare number: the shortest side
  }
  if (p.resize_shortest < 1) Unsupported(Format("`size` is {}", shown), where);
}

// Of the values of a picture, 0 to 255.
double ScaleOf(const Json& config, std::string_view where) {
  if (!JsonBool(config, "do_rescale", true, where)) return 1;
  const double scale = JsonDouble(config, "rescale_factor", 1.0 / 255, where);
  if (!(scale > 1e-9 && scale < 1e9)) Unsupported(Format("`rescale_factor` is {}", scale), where);
  return scale;
}

}  // namespace

Preprocess PreprocessFromHuggingFace(const Json& config, int64_t image_size, std::string_view where) {
  if (!config.is_object()) Unsupported("the preprocessor's config is not an object", where);
  for (const char* key : {"use_square_size", "pad_size"}) {
    if (std::string_view(key) == "pad_size" && !JsonBool(config, "do_pad", false, where)) continue;
    if (const Json value = config.value(key, Json()); !value.is_null() && value != Json(false))
      Unsupported(Format("`{}` is {}", key, Printable(value.dump(), 80)), where);
  }
  const bool resizes = JsonBool(config, "do_resize", true, where),
             crops = JsonBool(config, "do_center_crop", true, where);
  if (!resizes && !crops) Unsupported("`do_resize` and `do_center_crop` are both false", where);
  Preprocess p{.size = image_size, .resize_shortest = image_size, .floor_crop = true};
  if (resizes) ReadSize(config, p, where);
  else p.resize_shortest = 0;
  if (crops) {
    if (const auto crop = config.find("crop_size"); crop != config.end() && !crop->is_null())
      p.size = Square(*crop, "crop_size", where);
  } else {
    if (p.resize_width == 0 || p.resize_width != p.resize_height)
      Unsupported("`do_center_crop` is false and `size` is not a square", where);
    p.size = p.resize_width;
  }
  if (p.resize_width == p.size && p.resize_height == p.size) {  // nothing is cut off
    p.squash = true;
    p.resize_width = p.resize_height = 0;
  }
  const int64_t filter = JsonInt(config, "resample", 3, where);  // PIL's number
  if (filter < 0 || filter > 5) Unsupported(Format("`resample` is {}, known are 0 to 5", filter), where);
  p.filter = static_cast<Filter>(filter);
  if (JsonBool(config, "do_normalize", true, where)) {
    p.mean = PerChannel(config, "image_mean", kClipMean, where);
    p.std = PerChannel(config, "image_std", kClipStd, where);
  } else {
    p.mean = {0, 0, 0};
    p.std = {1, 1, 1};
  }
  // (s v - m) / d = (v / 255 - m / 255 s) / (d / 255 s)
  if (const double scale = 255 * ScaleOf(config, where); std::abs(scale - 1) > 1e-6) {
    for (double& m : p.mean) m /= scale;
    for (double& d : p.std) d /= scale;
  }
  CheckSizes(p, image_size, where);
  return p;
}

Json PreprocessToHuggingFace(const Preprocess& p, std::string_view where) {
  if (p.pad) Unsupported("bars around pictures, for which a CLIPImageProcessor has no setting", where);
  const bool resizes = p.squash || p.resize_width > 0 || p.resize_shortest > 0;
  Json rules = {{"image_processor_type", "CLIPImageProcessor"},
                {"feature_extractor_type", "CLIPFeatureExtractor"},
                {"do_resize", resizes},
                {"do_center_crop", !p.squash},
                {"do_rescale", true},
                {"do_normalize", true},
                {"do_convert_rgb", true},
                {"rescale_factor", 1.0 / 255},
                {"resample", static_cast<int>(p.filter)},
                {"image_mean", p.mean},
                {"image_std", p.std},
                {"crop_size", {{"height", p.size}, {"width", p.size}}}};
  if (p.squash) rules["size"] = {{"height", p.size}, {"width", p.size}};
  else if (p.resize_width > 0) rules["size"] = {{"height", p.resize_height}, {"width", p.resize_width}};
  else rules["size"] = {{"shortest_edge", resizes ? p.resize_shortest : p.size}};
  return rules;
}

}  // namespace genview
