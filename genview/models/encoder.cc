#include "genview/models/encoder.h"

#include <algorithm>
#include <cmath>

#include <c10/core/InferenceMode.h>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/models/convnext.h"
#include "genview/models/backbone_file.h"
#include "genview/models/weight_files.h"
#include "genview/tensor/device.h"
#include "genview/tensor/row_groups.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

namespace fs = std::filesystem;

// Weights of matrix products and convolutions in the compute type, so that autocast need not convert them at every call;
// norms, tokens and positions stay in fp32. In fp32 on the CPU blocks.h widens what is kept in 16 bits.
void Place(const WeightList& list, at::Device device, at::ScalarType compute) {
  for (const WeightRef& ref : list) {
    if (ref.role == WeightRole::kWeight && (compute != at::kFloat || !device.is_cpu())) *ref.tensor = ref.tensor->to(compute);
  }
  MoveWeights(list, device);
}

// A config that asks for far more than the file holds is answered before its memory is touched.
void CheckSize(double parameters, const WeightMap& weights, const std::string& config_where) {
  double held = 0;
  for (const auto& [name, tensor] : weights.tensors()) held += static_cast<double>(tensor.numel());
  if (parameters <= 2 * held + 1e6) return;
  throw Error({.what = Format("the config describes a model of {:.0f} weights, the file holds {:.0f}", parameters, held),
               .where = Format("{} and {}", config_where, weights.where()),
               .next = "check that weights and config belong together"});
}

struct Target {
  at::Device device;
  at::ScalarType compute;
  Reads reads;
};

class ClipEncoder : public Encoder {
 public:
  ClipEncoder(const ClipVisionConfig& config, const WeightMap& weights, ClipLayout layout, const Preprocess& preprocess,
              const std::string& config_where, std::function<std::string()> fingerprint, const Target& target) {
    CheckSize(CountClipParameters(config), weights, config_where);
    tower_ = MakeClipVision(config);
    WeightReader reader(weights, target.reads);
    LoadClipVision(tower_, reader, layout);
    reader.Finish(ClipIgnored(layout));
    if (KeepsContents(target.reads)) Place(ListWeights(tower_), target.device, target.compute);
    embedding_width_ = config.embedding_width;
    token_width_ = config.width;
    grid_ = config.grid();
    preprocess_ = preprocess;
    name_ = Format("{} ViT, {} layers of {}", layout == ClipLayout::kOpenClip ? "open_clip" : "CLIP", config.layers, config.width);
    find_fingerprint_ = std::move(fingerprint);
    device_ = target.device;
    compute_ = target.compute;
  }

 private:
  Output Forward(const Tensor& pixels) const override {
    const ClipOutput out = ForwardClipVision(tower_, pixels);
    return {.embeddings = out.embedding, .tokens = out.tokens};
  }
  ClipVision tower_;
};

class ConvNextEncoder : public Encoder {
 public:
  ConvNextEncoder(const ConvNextConfig& config, const WeightMap& weights, const Preprocess& preprocess, const std::string& config_where,
                  std::function<std::string()> fingerprint, const Target& target) {
    CheckSize(CountConvNextParameters(config), weights, config_where);
    tower_ = MakeConvNext(config);
    // What is fused has no 16 bits any more.
    WeightReader reader(weights, std::min(target.reads, Reads::kAll));
    LoadConvNext(tower_, reader);
    reader.Finish(ClipIgnored(ClipLayout::kOpenClip));
    if (KeepsContents(target.reads)) {
      FuseConvNext(tower_);
      Place(ListWeights(tower_), target.device, target.compute);
    }
    embedding_width_ = config.embedding_width;
    token_width_ = config.widths.back();
    grid_ = config.grid();
    preprocess_ = preprocess;
    name_ = Format("open_clip ConvNeXt, {} blocks up to {}", config.depths[0] + config.depths[1] + config.depths[2] + config.depths[3], config.widths.back());
    find_fingerprint_ = std::move(fingerprint);
    device_ = target.device;
    compute_ = target.compute;
  }

 private:
  Output Forward(const Tensor& pixels) const override {
    const ConvNextOutput out = ForwardConvNext(tower_, pixels);
    return {.embeddings = out.embedding, .tokens = out.tokens};
  }
  ConvNext tower_;
};

class BackboneEncoder : public Encoder {
 public:
  BackboneEncoder(std::shared_ptr<Backbone> backbone, const Preprocess& preprocess, std::function<std::string()> fingerprint, at::Device device,
                  at::ScalarType compute)
      : backbone_(std::move(backbone)) {
    embedding_width_ = token_width_ = backbone_->width();
    grid_ = backbone_->grid(preprocess.size);
    preprocess_ = preprocess;
    name_ = backbone_->config().type;
    find_fingerprint_ = std::move(fingerprint);
    device_ = device;
    compute_ = compute;
  }

 private:
  Output Forward(const Tensor& pixels) const override {
    const BackboneOutput out = backbone_->Forward(pixels.contiguous(at::MemoryFormat::ChannelsLast), /*training=*/false);
    return {.embeddings = out.pooled, .tokens = out.tokens};
  }
  std::shared_ptr<Backbone> backbone_;
};

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

WeightMap ReadWeights(const Path& folder, const std::vector<std::string>& names, std::vector<Path>& files) {
  files = FolderWeightFiles(folder, names);
  return ReadFolderWeights(folder, names);
}

std::string FingerprintOf(std::vector<Path> files, const Json& config, const Preprocess& preprocess) {
  std::string all = config.dump() + preprocess.ToJson().dump();
  std::vector<std::string> contents;
  for (const Path& file : files) contents.push_back(FingerprintFile(file));
  std::sort(contents.begin(), contents.end());  // names do not matter
  for (const std::string& one : contents) all += one;
  return Fingerprint(all);
}

std::shared_ptr<Encoder> OpenOpenClip(const Path& folder, const Target& target) {
  const Path path = folder / "open_clip_config.json";
  const Json json = ReadJson(path);
  // Of a config that has been found to be an object.
  const auto preprocess_for = [&](int64_t size) { return PreprocessFromOpenClip(json.value("preprocess_cfg", Json::object()), size, path.string()); };
  std::vector<Path> files;
  if (IsConvNext(json)) {
    const ConvNextConfig config = ConvNextConfigFromOpenClip(json, path.string());
    const Preprocess preprocess = preprocess_for(config.image_size);
    const WeightMap weights = ReadWeights(folder, {"open_clip_model", "model"}, files);
    return std::make_shared<ConvNextEncoder>(config, weights, preprocess, path.string(), [=] { return FingerprintOf(files, json, preprocess); }, target);
  }
  const ClipVisionConfig config = ClipConfigFromOpenClip(json, path.string());
  const Preprocess preprocess = preprocess_for(config.image_size);
  const WeightMap weights = ReadWeights(folder, {"open_clip_model", "model"}, files);
  return std::make_shared<ClipEncoder>(config, weights, ClipLayout::kOpenClip, preprocess, path.string(),
                                       [=] { return FingerprintOf(files, json, preprocess); }, target);
}

std::shared_ptr<Encoder> OpenHuggingFace(const Path& folder, const Target& target) {
  const Path path = folder / "config.json";
  const Json json = ReadJson(path);
  const ClipVisionConfig config = ClipConfigFromHuggingFace(json, path.string());
  Json rules = Json::object();
  std::string rules_where = path.string();
  // Beside the weights, or where a diffusers pipeline keeps it.
  for (const Path& candidate : {folder / "preprocessor_config.json", folder.parent_path() / "feature_extractor" / "preprocessor_config.json"}) {
    if (!fs::exists(candidate)) continue;
    rules = ReadJson(candidate);
    rules_where = candidate.string();
    break;
  }
  const Preprocess preprocess = PreprocessFromHuggingFace(rules, config.image_size, rules_where);
  std::vector<Path> files;
  const WeightMap weights = ReadWeights(folder, {"model"}, files);
  return std::make_shared<ClipEncoder>(config, weights, ClipLayout::kHuggingFace, preprocess, path.string(),
                                       [=] { return FingerprintOf(files, json, preprocess); }, target);
}

std::shared_ptr<Encoder> OpenCheckpoint(const Path& path, at::Device device, at::ScalarType compute) {
  BackboneFile file = ReadBackboneFile(path);
  std::shared_ptr<Backbone> backbone = std::move(file.encoder.backbone);
  const WeightList list = backbone->Weights();
  Place(list, device, compute);
  UseChannelsLast(list);
  return std::make_shared<BackboneEncoder>(backbone, file.preprocess, [path] { return FingerprintFile(path); }, device, compute);
}

}  // namespace

std::shared_ptr<Encoder> Encoder::Open(const Path& given, at::Device device, at::ScalarType compute, Reads reads) {
  std::error_code code;
  if (fs::is_regular_file(given, code)) return OpenCheckpoint(given, device, compute);
  if (!fs::is_directory(given, code)) {
    throw Error({.what = "there is no such encoder", .where = given.string(), .next = "name a folder or a checkpoint file"});
  }
  Path folder = given;
  if (fs::exists(folder / "model_index.json", code) && fs::exists(folder / "image_encoder", code)) folder /= "image_encoder";
  if (fs::exists(folder / "open_clip_config.json", code)) return OpenOpenClip(folder, {device, compute, reads});
  if (fs::exists(folder / "config.json", code)) return OpenHuggingFace(folder, {device, compute, reads});
  if (fs::exists(folder / "encoder.safetensors", code)) return OpenCheckpoint(folder / "encoder.safetensors", device, compute);
  throw Error({.what = Format("the folder is no encoder: open_clip_config.json and config.json are missing; it holds {}", Listing(folder)),
               .where = folder.string(),
               .next = "download the whole model folder, config included, or name a checkpoint file inside it"});
}

const std::string& Encoder::fingerprint() const {
  std::call_once(fingerprint_found_, [&] { fingerprint_ = find_fingerprint_(); });
  return fingerprint_;
}

Encoder::Output Encoder::Encode(const Tensor& pixels, bool tokens) const {
  ExpectShape(pixels, {-1, 3, preprocess_.size, preprocess_.size}, "pixels");
  const auto encode = [&](const Tensor& rows) {
    const ComputeScope scope(device_, compute_);
    Output out = Forward(rows.to(device_));
    out.embeddings = out.embeddings.to(at::kFloat);
    out.tokens = tokens ? out.tokens.to(at::kFloat) : Tensor();
    return out;
  };
  const int64_t rows = pixels.size(0), most = std::max<int64_t>(1, EncodeBatchSize(*this, 0) / 8);
  if (!device_.is_cpu() || rows <= most || !c10::InferenceMode::is_enabled()) return encode(pixels);
  const int64_t pairs = (rows + 2 * most - 1) / (2 * most), group = (rows + 2 * pairs - 1) / (2 * pairs);  // as many for each of two threads
  std::vector<Tensor> embeddings(static_cast<size_t>(GroupCount(rows, group))), maps(embeddings.size());
  ForEachRowGroup(rows, group, device_, [&](int64_t first, int64_t last, int64_t index) {
    const Output out = encode(pixels.slice(0, first, last));
    embeddings[static_cast<size_t>(index)] = out.embeddings;
    maps[static_cast<size_t>(index)] = out.tokens;
  });
  return {.embeddings = at::cat(embeddings), .tokens = tokens ? at::cat(maps) : Tensor()};
}

int64_t EncodeBatchSize(const Encoder& encoder, int64_t asked) {
  if (asked > 0) return asked;
  const int64_t pixels = (encoder.device().is_cpu() ? 32 : 256) * int64_t{224 * 224};
  return std::clamp<int64_t>(pixels / (encoder.preprocess().size * encoder.preprocess().size), 1, 256);
}

std::shared_ptr<Encoder> EncoderOf(std::shared_ptr<Backbone> backbone, const Preprocess& preprocess, std::string fingerprint,
                                   at::Device device, at::ScalarType compute) {
  return std::make_shared<BackboneEncoder>(std::move(backbone), preprocess, [fingerprint = std::move(fingerprint)] { return fingerprint; }, device, compute);
}

}  // namespace genview
