#include "genview/models/backbone_file.h"

#include "genview/base/error.h"
#include "genview/models/encoder.h"
#include "genview/tensor/torch_file.h"

namespace genview {
namespace {

namespace fs = std::filesystem;

Path WeightsIn(const Path& given) {
  std::error_code code;
  if (!fs::is_directory(given, code)) return given;
  for (const char* name : {"model.safetensors", "pytorch_model.bin"}) {
    if (fs::exists(given / name, code)) return given / name;
  }
  throw Error({.what = "the folder holds neither model.safetensors nor pytorch_model.bin",
               .where = given.string(),
               .next = "name the weights file itself"});
}

// The member `genview` of the metadata, where this program wrote the file.
Json OwnMetadata(const WeightMap& weights) {
  const std::string text = weights.Metadata("genview");
  const Json meta = text.empty() ? Json() : ParseJson(text, weights.where());
  if (!text.empty() && (!meta.is_object() || !meta.contains("backbone"))) {
    throw Error({.what = Format("the file holds no backbone (it is of kind \"{}\")",
                                meta.is_object() ? JsonString(meta, "kind", "unknown", weights.where()) : "unknown"),
                 .where = weights.where(),
                 .next = "name a checkpoint that `genview pretrain` or `genview import` wrote"});
  }
  return meta;
}

BackboneFile FromCheckpoint(const WeightMap& weights, const BackboneConfig& config) {
  BackboneFile file;
  const WeightMap own = weights.WithPrefixRemoved("encoder.");
  CheckBackboneSize(config, own);
  file.encoder.backbone = MakeBackbone(config);
  WeightReader reader(own);
  LoadWeights(file.encoder.backbone->Weights(), reader);
  reader.Finish();
  file.encoder.layout = "genview";
  file.encoder.prefix = "encoder.";
  file.encoder.left_out = static_cast<int64_t>(weights.tensors().size() - own.tensors().size());
  return file;
}

// What transformers writes beside its weights.
void ReadNeighbours(const Path& weights, ForeignOptions& options, std::optional<Preprocess>& preprocess) {
  const Path config = weights.parent_path() / "config.json", rules = weights.parent_path() / "preprocessor_config.json";
  std::error_code code;
  if (!fs::exists(config, code)) return;
  const Json json = ReadJson(config);
  if (!json.is_object()) return;
  const std::string where = config.string(), type = JsonString(json, "model_type", "", where);
  if (type != "vit" && type != "resnet") return;
  if (options.heads == 0) options.heads = JsonInt(json, "num_attention_heads", 0, where);
  if (json.contains("layer_norm_eps")) options.norm_eps = JsonDouble(json, "layer_norm_eps", 0, where);
  if (options.norm_eps && !(*options.norm_eps >= 0 && *options.norm_eps <= 1)) {
    throw Error({.what = Format("`layer_norm_eps` is {}, which a norm cannot add to its variance", *options.norm_eps),
                 .where = where,
                 .next = "correct the config, or get it again from where it came"});
  }
  const std::string usual = type == "vit" ? "gelu" : "relu", activation = JsonString(json, "hidden_act", usual, where);
  if (activation != usual || JsonBool(json, "downsample_in_bottleneck", false, where)) {
    throw Error({.what = Format("the {} has the activation {}, or its strides, where this program's has others", type,
                                activation),
                 .where = where,
                 .next = "use a network with the usual layers"});
  }
  if (fs::exists(rules, code))
    preprocess = PreprocessFromHuggingFace(ReadJson(rules), JsonInt(json, "image_size", 224, where), rules.string());
}

}  // namespace

BackboneFile ReadBackboneFile(const Path& given, ForeignOptions options) {
  const Path path = WeightsIn(given);
  const WeightMap weights = ReadWeightsFile(path);
  const Json meta = OwnMetadata(weights);
  std::optional<Preprocess> preprocess;
  BackboneFile file;
  if (meta.is_object()) {
    BackboneConfig config;
    ReadFields(config, meta["backbone"], {path.string(), "backbone"});
    if (meta.contains("preprocess")) preprocess = Preprocess::FromJson(meta["preprocess"], path.string());
    options.backbone = config;
    if (JsonString(meta, "kind", "", path.string()) == "export") file.encoder = FromLayout(weights, options);
    else file = FromCheckpoint(weights, config);
  } else {
    ReadNeighbours(path, options, preprocess);
    file.encoder = FromLayout(weights, options);
  }
  const int64_t size = file.encoder.backbone->config().image_size;
  file.preprocess_known = preprocess.has_value();
  // Papers test at 224 px cut out of 256; small pictures are used whole.
  file.preprocess = preprocess.value_or(Preprocess{
      .size = size, .resize_shortest = size < 100 ? size : size * 8 / 7, .mean = kImagenetMean, .std = kImagenetStd});
  return file;
}

}  // namespace genview
