#include "genview/models/neighbours.h"

#include <algorithm>
#include <cmath>

#include "genview/base/error.h"
#include "genview/models/encoder.h"

namespace genview {
namespace {

[[noreturn]] void Unsupported(std::string what, std::string_view where) {
  throw Error({.what = std::move(what),
               .where = std::string(where),
               .next = "import the weights file from a folder without this file, and give --mean, --std and --resize"});
}

double ShareOfCrop(const Json& config, double usual, std::string_view where) {
  const double share = JsonDouble(config, "crop_pct", usual, where);
  if (!(share >= 0.05 && share <= 1)) Unsupported(Format("`crop_pct` is {}, allowed are 0.05 to 1", share), where);
  return share;
}

int64_t CheckSize(int64_t size, std::string_view where) {
  if (size < 1 || size > 1 << 13) Unsupported(Format("pictures of {} px", size), where);
  return size;
}

void CheckEps(const std::optional<double>& eps, const std::string& where) {
  if (!eps || (*eps >= 0 && *eps <= 1)) return;
  throw Error({.what = Format("`layer_norm_eps` is {}, allowed are 0 to 1", *eps),
               .where = where,
               .next = "correct the config, or get it again from where it came"});
}

// Of a ResNet: its config does not know.
int64_t SizeOf(const Json& rules, std::string_view where) {
  for (const char* key : {"crop_size", "size"}) {
    const auto found = rules.find(key);
    if (found == rules.end()) continue;
    if (found->is_number_integer()) return CheckSize(found->get<int64_t>(), where);
    if (found->is_object() && found->contains("height")) return CheckSize(JsonInt(*found, "height", 224, where), where);
  }
  return 224;
}

void ReadTransformers(const Json& config, const Path& folder, const std::string& where, Neighbours& beside) {
  const std::string type = JsonString(config, "model_type", "", where);
  ForeignOptions& options = beside.options;
  const std::string usual = type == "vit" ? "gelu" : "relu",
                    activation = JsonString(config, "hidden_act", usual, where);
  if (activation != usual || JsonBool(config, "downsample_in_bottleneck", false, where) ||
      JsonBool(config, "downsample_in_first_stage", false, where)) {
    throw Error({.what = Format("the {} has the activation {}, or its strides, where this program's has others", type,
                                activation),
                 .where = where,
                 .next = "use a network with the usual layers"});
  }
  if (options.heads == 0) options.heads = JsonInt(config, "num_attention_heads", 0, where);
  if (config.contains("layer_norm_eps")) options.norm_eps = JsonDouble(config, "layer_norm_eps", 0, where);
  CheckEps(options.norm_eps, where);
  const Path file = folder / "preprocessor_config.json";
  std::error_code code;
  if (!std::filesystem::exists(file, code)) return;
  const Json rules = ProcessorInClipWords(ReadJson(file), file.string());
  const int64_t size = type == "vit" ? JsonInt(config, "image_size", 224, where) : SizeOf(rules, file.string());
  beside.preprocess = PreprocessFromHuggingFace(rules, size, file.string());
}

// timm's anti-aliased ResNets have the tensors of the plain ones and other strides.
void RefuseBlurred(const std::string& architecture, const std::string& where) {
  if (!architecture.starts_with("resnetaa") && !architecture.starts_with("resnetblur")) return;
  throw Error({.what = Format("the network is timm's {}, which blurs where it makes maps smaller", architecture),
               .where = where,
               .next = "use a plain resnet18, resnet34 or resnet50"});
}

}  // namespace

Json ProcessorInClipWords(Json rules, std::string_view where) {
  if (!rules.is_object()) return rules;  // refused by who reads it
  for (auto it = rules.begin(); it != rules.end();) it = it->is_null() ? rules.erase(it) : std::next(it);
  const std::string kind =
      JsonString(rules, "image_processor_type", JsonString(rules, "feature_extractor_type", "", where), where);
  const bool vit = kind.starts_with("ViT"), convnext = kind.starts_with("ConvNext");
  if (!vit && !convnext) return rules;
  const auto usual = [&](const char* key, Json value) {
    if (!rules.contains(key)) rules[key] = std::move(value);
  };
  usual("resample", vit ? 2 : 3);
  usual("image_mean", 0.5);
  usual("image_std", 0.5);
  usual("size", vit ? 224 : 384);
  const Json size = rules["size"];
  if (vit) {
    usual("do_center_crop", false);
    if (size.is_number_integer()) rules["size"] = {{"height", size}, {"width", size}};
    return rules;
  }
  const int64_t edge = CheckSize(size.is_number_integer()
                                     ? size.get<int64_t>()
                                     : JsonInt(size.is_object() ? size : Json::object(), "shortest_edge", 384, where),
                                 where);
  const bool crop = edge < 384;  // larger ones are resized to a square
  rules["do_center_crop"] = crop;
  rules["size"] = {{"height", edge}, {"width", edge}};
  if (!crop) return rules;
  rules["crop_size"] = edge;
  const double share = ShareOfCrop(rules, 224.0 / 256, where);
  rules["size"] = {{"shortest_edge", static_cast<int64_t>(static_cast<double>(edge) / share)}};
  return rules;
}

Preprocess PreprocessFromTimm(const Json& config, std::string_view where) {
  if (!config.is_object()) Unsupported("`pretrained_cfg` is not an object", where);
  const auto sides = JsonInts(config, "input_size", {3, 224, 224}, where);
  if (sides.size() != 3 || sides[0] != 3 || sides[1] != sides[2])
    Unsupported(Format("`input_size` is [{}], which is not a square of three colours", fmt::join(sides, ",")), where);
  Preprocess p{.size = CheckSize(sides[1], where), .mean = kImagenetMean, .std = kImagenetStd};
  const std::string mode = JsonString(config, "crop_mode", "center", where),
                    filter = JsonString(config, "interpolation", "bicubic", where);
  const double share = ShareOfCrop(config, 0.875, where);
  if (mode != "center" && mode != "squash") Unsupported(Format("`crop_mode` is \"{}\"", mode), where);
  const std::optional<Filter> known = FilterOfName(filter);
  if (!known) Unsupported(Format("`interpolation` is \"{}\"", filter), where);
  p.filter = *known;
  p.resize_shortest = static_cast<int64_t>(static_cast<double>(p.size) / share);
  p.squash = mode == "squash" && share == 1;
  if (mode == "squash" && !p.squash) p.resize_width = p.resize_height = p.resize_shortest;
  for (const auto& [key, values] : {std::pair("mean", &p.mean), std::pair("std", &p.std)}) {
    const auto found = config.find(key);
    if (found == config.end() || found->is_null()) continue;
    for (size_t c = 0; c < 3; ++c) {
      const bool number = found->is_array() && found->size() == 3 && (*found)[c].is_number();
      (*values)[c] = number ? (*found)[c].get<double>() : NAN;
      if (!std::isfinite((*values)[c]) || (values == &p.std && !((*values)[c] > 0)))
        Unsupported(Format("`{}` is not 3 numbers as they should be", key), where);
    }
  }
  return p;
}

Preprocess ForSize(Preprocess preprocess, int64_t size) {
  if (preprocess.size == size) return preprocess;
  const double share = static_cast<double>(preprocess.resize_shortest) / static_cast<double>(preprocess.size);
  preprocess.resize_shortest = std::llround(share * static_cast<double>(size));
  for (int64_t* side : {&preprocess.resize_width, &preprocess.resize_height}) *side = *side * size / preprocess.size;
  preprocess.size = size;
  return preprocess;
}

Neighbours ReadNeighbours(const Path& folder, ForeignOptions options) {
  Neighbours beside{.options = std::move(options), .preprocess = {}};
  const Path file = folder / "config.json";
  std::error_code code;
  if (!std::filesystem::exists(file, code)) return beside;
  const Json config = ReadJson(file);
  if (!config.is_object()) return beside;
  const std::string where = file.string(), type = JsonString(config, "model_type", "", where);
  if (type == "vit" || type == "resnet") {
    ReadTransformers(config, folder, where, beside);
  } else if (type.empty() && config.contains("architecture") && config.contains("pretrained_cfg")) {
    RefuseBlurred(JsonString(config, "architecture", "", where), where);
    beside.preprocess = PreprocessFromTimm(config["pretrained_cfg"], where);
  } else {
    return beside;
  }
  // A ViT's positions know its size better.
  const bool resnet =
      type == "resnet" ||
      (type.empty() && JsonString(config, "architecture", "", where).find("resnet") != std::string::npos);
  if (beside.preprocess && resnet && beside.options.image_size == 0)
    beside.options.image_size = beside.preprocess->size;
  return beside;
}

}  // namespace genview
