#include "genview/models/encoder_files.h"

#include <algorithm>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/models/encoder.h"
#include "genview/models/ldm.h"
#include "genview/models/neighbours.h"
#include "genview/models/weight_files.h"
#include "genview/tensor/torch_file.h"

namespace genview {
namespace {

namespace fs = std::filesystem;

// "config.json, model.bin and 3 more", for messages.
std::string Listing(const Path& folder) {
  std::vector<std::string> names;
  std::error_code code;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  if (names.empty()) return "nothing";
  constexpr size_t kShown = 8;
  const size_t more = names.size() > kShown ? names.size() - kShown : 0;
  names.resize(names.size() - more);
  return Format("{}{}", fmt::join(names, ", "), more > 0 ? Format(" and {} more", more) : "");
}

void ReadWeights(TowerFiles& files, const Path& folder, const std::vector<std::string>& names) {
  files.files = FolderWeightFiles(folder, names);
  files.weights = ReadFolderWeights(folder, names);
}

// Those of a config file, with what it says still to be understood.
TowerFiles Begin(ClipLayout layout, const Path& config) {
  return {.layout = layout,
          .config = {},
          .json = ReadJson(config),
          .where = config.string(),
          .preprocess = {},
          .weights = {},
          .files = {}};
}

TowerFiles ReadOpenClip(const Path& folder) {
  TowerFiles files = Begin(ClipLayout::kOpenClip, folder / "open_clip_config.json");
  int64_t size = 0;
  if (IsConvNext(files.json)) {
    const ConvNextConfig config = ConvNextConfigFromOpenClip(files.json, files.where);
    size = config.image_size;
    files.config = config;
  } else {
    const ClipVisionConfig config = ClipConfigFromOpenClip(files.json, files.where);
    size = config.image_size;
    files.config = config;
  }
  files.preprocess = PreprocessFromOpenClip(files.json.value("preprocess_cfg", Json::object()), size, files.where);
  ReadWeights(files, folder, {"open_clip_model", "model"});
  return files;
}

// A ViT or ResNet of transformers or timm becomes an encoder by `import`, which also knows its pictures.
void RefuseBackbone(const Json& config, const Path& folder, const std::string& where) {
  if (!config.is_object()) return;
  const std::string type = JsonString(config, "model_type", "", where);
  const bool timm = type.empty() && config.contains("architecture") && config.contains("pretrained_cfg");
  if (type != "vit" && type != "resnet" && !timm) return;
  throw Error(
      {.what = Format("the folder holds {} and no CLIP tower", timm ? "a model of timm" : "transformers' " + type),
       .where = where,
       .next = Format("`genview import {} --out encoder.safetensors` makes an encoder of it", folder.string())});
}

TowerFiles ReadHuggingFace(const Path& folder) {
  TowerFiles files = Begin(ClipLayout::kHuggingFace, folder / "config.json");
  RefuseBackbone(files.json, folder, files.where);
  const ClipVisionConfig config = ClipConfigFromHuggingFace(files.json, files.where);
  files.config = config;
  Json rules = Json::object();
  std::string rules_where = files.where;
  // Beside the weights, or where a diffusers pipeline keeps it.
  for (const Path& candidate :
       {folder / "preprocessor_config.json", folder.parent_path() / "feature_extractor" / "preprocessor_config.json"}) {
    if (!fs::exists(candidate)) continue;
    rules_where = candidate.string();
    rules = ProcessorInClipWords(ReadJson(candidate), rules_where);
    break;
  }
  files.preprocess = PreprocessFromHuggingFace(rules, config.image_size, rules_where);
  ReadWeights(files, folder, {"model"});
  return files;
}

bool IsLdmFile(const Path& file) {
  const WeightMap weights = ReadWeightsFile(file);
  return std::any_of(weights.tensors().begin(), weights.tensors().end(),
                     [](const auto& pair) { return LdmName(pair.first).starts_with(kLdmUnet); });
}

// A config that asks for far more than the file holds is answered before its memory is touched.
void CheckSize(double parameters, const TowerFiles& files) {
  double held = 0;
  for (const auto& [name, tensor] : files.weights.tensors()) held += static_cast<double>(tensor.numel());
  if (parameters <= 2 * held + 1e6) return;
  throw Error(
      {.what = Format("the config describes a model of {:.0f} weights, the file holds {:.0f}", parameters, held),
       .where = Format("{} and {}", files.where, files.weights.where()),
       .next = "check that weights and config belong together"});
}

}  // namespace

EncoderPlace FindEncoder(const Path& given) {
  std::error_code code;
  if (fs::is_regular_file(given, code))
    return {IsLdmFile(given) ? EncoderKind::kSingleFile : EncoderKind::kCheckpoint, given};
  if (!fs::is_directory(given, code)) {
    throw Error(
        {.what = "there is no such encoder", .where = given.string(), .next = "name a folder or a checkpoint file"});
  }
  Path folder = given;
  if (fs::exists(folder / "model_index.json", code) && fs::exists(folder / "image_encoder", code))
    folder /= "image_encoder";
  if (fs::exists(folder / "open_clip_config.json", code)) return {EncoderKind::kOpenClip, folder};
  if (fs::exists(folder / "config.json", code)) return {EncoderKind::kHuggingFace, folder};
  if (fs::exists(folder / "encoder.safetensors", code))
    return {EncoderKind::kCheckpoint, folder / "encoder.safetensors"};
  throw Error(
      {.what = Format("the folder is no encoder: open_clip_config.json and config.json are missing; it holds {}",
                      Listing(folder)),
       .where = folder.string(),
       .next = "download the whole model folder, config included, or name a checkpoint file inside it"});
}

TowerFiles ReadTowerFiles(const EncoderPlace& place) {
  GENVIEW_CHECK(place.kind != EncoderKind::kCheckpoint, "a checkpoint holds no tower");
  if (place.kind == EncoderKind::kSingleFile) return LdmTowerFiles(ReadLdmFile(place.path));
  return place.kind == EncoderKind::kOpenClip ? ReadOpenClip(place.path) : ReadHuggingFace(place.path);
}

ClipVision LoadClipTower(const TowerFiles& files, const ClipVisionConfig& config, Reads reads) {
  CheckSize(CountClipParameters(config), files);
  ClipVision tower = MakeClipVision(config);
  WeightReader reader(files.weights, reads);
  LoadClipVision(tower, reader, files.layout);
  reader.Finish(ClipIgnored(files.layout));
  return tower;
}

ConvNext LoadConvNextTower(const TowerFiles& files, const ConvNextConfig& config, Reads reads) {
  CheckSize(CountConvNextParameters(config), files);
  ConvNext tower = MakeConvNext(config);
  WeightReader reader(files.weights, reads);
  LoadConvNext(tower, reader);
  reader.Finish(ClipIgnored(ClipLayout::kOpenClip));
  return tower;
}

}  // namespace genview
