#include "genview/diffusion/generator_files.h"

#include <algorithm>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/diffusion/python_json.h"
#include "genview/diffusion/scheduler.h"
#include "genview/models/encoder_files.h"
#include "genview/models/ldm.h"
#include "genview/models/weight_files.h"
#include "genview/tensor/torch_file.h"

namespace genview {
namespace {

// model_index.json: component -> [library, class]. Class names that can be read here.
void CheckComponent(const Json& index, const char* name, const std::vector<std::string>& classes,
                    const std::string& where) {
  const auto found = index.find(name);
  const bool named = found != index.end() && found->is_array() && found->size() == 2 && (*found)[1].is_string();
  const std::string found_class = named ? (*found)[1].get<std::string>() : "nothing";
  if (std::find(classes.begin(), classes.end(), found_class) == classes.end()) {
    throw Error({.what = Format("component `{}` of the pipeline is {}; supported: {}", name, found_class,
                                fmt::join(classes, ", ")),
                 .where = where,
                 .next = "give the folder of a Stable unCLIP image-to-image pipeline"});
  }
}

bool IsNullComponent(const Json& index, const char* name) {
  const auto found = index.find(name);
  return found == index.end() || found->is_null() || (found->is_array() && found->size() == 2 && (*found)[1].is_null());
}

void CheckIndex(const Json& index, const std::string& where) {
  const std::string own = JsonString(index, "_class_name", "", where);
  if (own != kUnclipClass) {
    throw Error({.what = Format("the pipeline is of class {}, wanted {}", own.empty() ? "(none)" : own, kUnclipClass),
                 .where = where,
                 .next = "a generator of views must take a picture: give a Stable unCLIP image-to-image pipeline"});
  }
  CheckComponent(index, "image_encoder", {kUnclipClipClass, kUnclipCheckpointClass}, where);
  CheckComponent(index, "image_normalizer", {"StableUnCLIPImageNormalizer"}, where);
  CheckComponent(index, "image_noising_scheduler", {"DDPMScheduler"}, where);
  CheckComponent(index, "unet", {"UNet2DConditionModel"}, where);
  CheckComponent(index, "vae", {"AutoencoderKL"}, where);
}

// Of names and contents of all files that have a part in the result.
std::string FingerprintOfFolder(const Path& folder) {
  std::vector<Path> files;
  for (const char* part : {"image_encoder", "image_normalizer", "unet", "vae", "text_encoder"}) {
    if (!std::filesystem::exists(folder / part)) continue;
    if (std::filesystem::exists(folder / part / "encoder.safetensors")) {
      files.push_back(folder / part / "encoder.safetensors");
      continue;
    }
    files.push_back(folder / part / "config.json");
    for (const Path& file : FolderWeightFiles(folder / part, {"diffusion_pytorch_model", "model"}))
      files.push_back(file);
  }
  for (const char* part : {"feature_extractor/preprocessor_config.json",
                           "image_noising_scheduler/scheduler_config.json", "scheduler/scheduler_config.json"}) {
    if (std::filesystem::exists(folder / part)) files.push_back(folder / part);
  }
  for (const char* file :
       {"vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}) {
    if (std::filesystem::exists(folder / "tokenizer" / file)) files.push_back(folder / "tokenizer" / file);
  }
  std::sort(files.begin(), files.end());
  std::string text;
  for (const Path& file : files)
    text += Format("{} {}\n", file.lexically_relative(folder).string(), FingerprintFile(file));
  return Fingerprint(text);
}

class FolderFiles : public GeneratorFiles {
 public:
  explicit FolderFiles(const Path& folder)
      : GeneratorFiles(folder), index_(ReadPythonJson(folder / "model_index.json")) {
    const std::string where = (folder / "model_index.json").string();
    CheckIndex(index_, where);
    if (!has_text()) return;
    CheckComponent(index_, "text_encoder", {"CLIPTextModel"}, where);
    CheckComponent(index_, "tokenizer", {"CLIPTokenizer", "CLIPTokenizerFast"}, where);
  }

  Unet ReadUnet(Reads reads) const override { return ReadUnetFolder(path_ / "unet", reads); }
  Vae ReadVae(Reads reads) const override { return ReadVaeFolder(path_ / "vae", reads); }
  bool has_text() const override { return !IsNullComponent(index_, "text_encoder"); }
  ClipText ReadText(Reads reads) const override { return ReadClipTextFolder(path_ / "text_encoder", reads); }
  ClipTokenizer ReadTokenizer(const ClipTextConfig& tower) const override {
    ClipTokenizer tokenizer = ClipTokenizer::Open(path_ / "tokenizer");
    if (tokenizer.highest_id() >= tower.vocabulary) {
      throw Error({.what = Format("the tokenizer gives tokens up to {}, the text encoder has {}",
                                  tokenizer.highest_id(), tower.vocabulary),
                   .where = Format("{} and {}", (path_ / "tokenizer").string(),
                                   (path_ / "text_encoder" / "config.json").string()),
                   .next = "check that all components come from one pipeline"});
    }
    return tokenizer;
  }
  std::shared_ptr<const Encoder> OpenEncoder(at::Device device, at::ScalarType compute, Reads reads) const override {
    return Encoder::Open(path_ / "image_encoder", device, compute, reads);
  }
  EmbeddingNoiser ReadNoiser(int64_t width) const override { return ReadEmbeddingNoiser(path_, width); }
  Scheduler ReadScheduler() const override {
    const Path file = path_ / "scheduler" / "scheduler_config.json";
    return {ReadPythonJson(file), file.string()};
  }
  std::string Fingerprint() const override { return FingerprintOfFolder(path_); }

 private:
  Json index_;
};

// The scheduler of the folder that diffusers makes of such a file.
const Json& LdmScheduler() {
  static const Json json{
      {"_class_name", "PNDMScheduler"}, {"beta_end", 0.012},           {"beta_schedule", "scaled_linear"},
      {"beta_start", 0.00085},          {"num_train_timesteps", 1000}, {"prediction_type", "v_prediction"},
      {"set_alpha_to_one", false},      {"skip_prk_steps", true},      {"steps_offset", 1}};
  return json;
}

// What the original computed with -l and did not save with it.
constexpr const char* kStatistics = "ViT-L-14_stats.th";

class LdmFiles : public GeneratorFiles {
 public:
  explicit LdmFiles(const Path& file) : GeneratorFiles(file), weights_(ReadLdmFile(file)) {
    CheckTable("alphas_cumprod", NoiseTable(ParseSchedulerConfig(LdmScheduler(), "", path_.string()).noise));
    CheckTable("noise_augmentor.alphas_cumprod", MakeEmbeddingNoiser(1).alpha_bar);
  }

  Unet ReadUnet(Reads reads) const override { return ReadLdmUnet(weights_, reads); }
  Vae ReadVae(Reads reads) const override { return ReadLdmVae(weights_, reads); }
  bool has_text() const override { return true; }
  ClipText ReadText(Reads reads) const override { return ReadLdmText(weights_, reads); }
  ClipTokenizer ReadTokenizer(const ClipTextConfig& tower) const override {
    return ClipTokenizer::WithoutWords(tower.vocabulary);
  }
  std::shared_ptr<const Encoder> OpenEncoder(at::Device device, at::ScalarType compute, Reads reads) const override {
    return OpenTower(LdmTowerFiles(weights_), device, compute, reads);
  }
  EmbeddingNoiser ReadNoiser(int64_t width) const override {
    EmbeddingNoiser noiser = MakeEmbeddingNoiser(width);
    const bool inside = weights_.Has("noise_augmentor.data_mean");
    if (!inside && !HasOpenAisTower()) return noiser;  // those of -h are 0 and 1
    const WeightMap beside = inside ? WeightMap() : ReadStatistics();
    noiser.mean = Statistic(inside ? weights_ : beside, inside ? "noise_augmentor.data_mean" : "0", width);
    noiser.std = Statistic(inside ? weights_ : beside, inside ? "noise_augmentor.data_std" : "1", width);
    if (!noiser.std.gt(0).all().item<bool>()) {
      throw Error({.what = "a standard deviation of the image embeddings is not positive",
                   .where = inside ? path_.string() : Statistics().string(),
                   .next = "fetch the file again"});
    }
    return noiser;
  }
  Scheduler ReadScheduler() const override { return {LdmScheduler(), path_.string()}; }
  std::string Fingerprint() const override {
    std::string text = Format("ldm {}\n", FingerprintFile(path_));
    if (!weights_.Has("noise_augmentor.data_mean") && HasOpenAisTower())
      text += Format("statistics {}\n", FingerprintFile(Statistics()));
    return genview::Fingerprint(text);
  }

 private:
  bool HasOpenAisTower() const {
    return std::get<ClipVisionConfig>(LdmTowerFiles(weights_).config).activation == Activation::kQuickGelu;
  }
  Path Statistics() const { return path_.parent_path() / kStatistics; }

  // A pair of tensors, mean and standard deviation.
  WeightMap ReadStatistics() const {
    std::error_code code;
    if (!std::filesystem::is_regular_file(Statistics(), code)) {
      throw Error(
          {.what = "the mean and standard deviation of image embeddings of OpenAI's ViT-L/14 are not in the file",
           .where = path_.string(),
           .next = Format("put the original's {} beside it, or give the generator as a folder", kStatistics)});
    }
    return ReadWeightsFile(Statistics());
  }

  static Tensor Statistic(const WeightMap& weights, const std::string& name, int64_t width) {
    const Tensor& stored = weights.At(name);
    if (stored.numel() != width || !at::isFloatingType(stored.scalar_type()) ||
        !at::isfinite(stored).all().item<bool>())
      throw Error({.what = Format("`{}` has the shape [{}], wanted are {} numbers", name,
                                  fmt::join(stored.sizes(), ","), width),
                   .where = weights.where(),
                   .next = "fetch the file again"});
    return stored.to(at::kFloat).reshape({1, width}).clone();
  }

  // A model trained with another table would make noise here. Files in half precision hold it to three digits.
  void CheckTable(const std::string& name, const Tensor& wanted) const {
    const auto found = weights_.tensors().find(name);
    if (found == weights_.tensors().end()) return;
    const Tensor table = found->second.to(at::kFloat);
    if (table.sizes() == wanted.sizes() && at::allclose(table, wanted, /*rtol=*/0.01, /*atol=*/1e-3)) return;
    throw Error({.what = Format("`{}` is not the noise of Stable unCLIP 2-1", name),
                 .where = path_.string(),
                 .next = "give the generator as a folder, whose configs say what it was trained with"});
  }

  WeightMap weights_;
};

}  // namespace

std::shared_ptr<const GeneratorFiles> GeneratorFiles::Open(const Path& given) {
  std::error_code code;
  if (std::filesystem::is_regular_file(given, code)) return std::make_shared<LdmFiles>(given);
  return std::make_shared<FolderFiles>(given);
}

}  // namespace genview
