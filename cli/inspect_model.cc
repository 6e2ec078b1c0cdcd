#include "cli/inspect_model.h"

#include <algorithm>
#include <map>

#include "cli/print.h"
#include "genview/base/json.h"
#include "genview/base/text.h"
#include "genview/diffusion/python_json.h"
#include "genview/models/clip_vision.h"
#include "genview/models/convnext.h"
#include "genview/models/ldm.h"
#include "genview/models/unet.h"
#include "genview/models/vae.h"
#include "genview/models/weight_files.h"
#include "genview/tensor/safetensors.h"
#include "genview/tensor/torch_file.h"

namespace genview {
namespace {

namespace fs = std::filesystem;

struct Weights {
  int64_t parameters = 0;
  uint64_t bytes = 0;
  std::map<std::string, int64_t> by_type;  // dtype -> parameters
  std::vector<std::string> files;

  void Add(const SafetensorsEntry& tensor) {
    int64_t count = 1;
    for (const int64_t extent : tensor.shape) count *= extent;
    parameters += count;
    by_type[tensor.dtype] += count;
  }
  std::string Precision() const {
    std::vector<std::string> names;
    for (const auto& [type, count] : by_type)
      names.push_back(
          by_type.size() == 1
              ? type
              : Format("{} {:.0f}%", type, 100.0 * static_cast<double>(count) / static_cast<double>(parameters)));
    return Format("{}", fmt::join(names, ", "));
  }
};

Weights WeightsOf(const Path& folder) {
  Weights weights;
  const std::vector<std::string> names{"diffusion_pytorch_model", "model", "open_clip_model", "encoder"};
  for (const Path& file : FolderWeightFiles(folder, names)) {
    weights.files.push_back(file.filename().string());
    const MappedFile mapped(file);
    weights.bytes += mapped.size();
    if (file.extension() != ".safetensors") {  // PyTorch's own: mapped, so that no tensor is read
      const WeightMap tensors = ReadWeightsFile(file);
      for (const auto& [name, tensor] : tensors.tensors()) {
        weights.parameters += tensor.numel();
        weights.by_type[at::toString(tensor.scalar_type())] += tensor.numel();
      }
      continue;
    }
    for (const SafetensorsEntry& entry : ParseSafetensorsHeader(mapped.text(), file.string()).entries) {
      weights.Add(entry);
    }
  }
  return weights;
}

std::string Millions(int64_t count) {
  return count < 10'000'000 ? Format("{:.2f} million", static_cast<double>(count) / 1e6)
                            : Format("{:.0f} million", static_cast<double>(count) / 1e6);
}

void PrintComponent(const std::string& name, const std::string& what, const Weights& weights) {
  Print("  {:<24} {:<32} {:>14} parameters  {:<6} {:>8}  {}\n", name, what, Millions(weights.parameters),
        weights.Precision(), HumanBytes(weights.bytes),
        weights.files.size() == 1 ? weights.files[0] : Format("{} shards", weights.files.size()));
}

// Skips of all levels and a few activations of the finest, for a row and its unconditional twin.
double UnetBytes(const UnetConfig& unet, int64_t latent_side) {
  double values = 0;
  for (size_t i = 0; i < unet.channels.size(); ++i) {
    const auto side = static_cast<double>(latent_side >> i);
    values += static_cast<double>(unet.channels[i] * (unet.layers_per_block[i] + 1)) * side * side;
  }
  values += 12.0 * static_cast<double>(unet.channels[0]) * static_cast<double>(latent_side * latent_side);
  return 2 * values * 4;
}

bool InspectPipelineFolder(const Path& folder) {
  const Json index = ReadPythonJson(folder / "model_index.json");
  Print("{}: pipeline folder, {}\n", folder.string(),
        JsonString(index, "_class_name", "unknown class", folder.string()));
  int64_t parameters = 0;
  std::map<std::string, double> bytes;  // of a part's weights in fp32
  bool complete = true;
  for (const auto& [part, value] : index.items()) {
    if (part.starts_with("_") || !value.is_array() || value.size() != 2) continue;
    const std::string type = value[1].is_string() ? value[1].get<std::string>() : "none";
    const Path place = folder / part;
    if (type == "none") continue;
    if (!fs::is_directory(place)) {
      Print("  {:<24} {:<32} missing\n", part, type);
      complete = false;
      continue;
    }
    if (fs::exists(place / "encoder.safetensors") || fs::exists(place / "config.json")) {
      const Weights weights = WeightsOf(place);
      PrintComponent(part, type, weights);
      parameters += weights.parameters;
      bytes[part] = 4.0 * static_cast<double>(weights.parameters);
    } else {
      Print("  {:<24} {}\n", part, type);
    }
  }
  Print("{} parameters in all\n", Millions(parameters));
  if (!complete || !fs::exists(folder / "unet" / "config.json") || !fs::exists(folder / "vae" / "config.json"))
    return true;
  const UnetConfig unet =
      ParseUnetConfig(ReadJson(folder / "unet" / "config.json"), (folder / "unet" / "config.json").string());
  const VaeConfig vae =
      ParseVaeConfig(ReadJson(folder / "vae" / "config.json"), (folder / "vae" / "config.json").string());
  const int64_t side = unet.sample_size * vae.scale();
  bytes["unet"] += UnetBytes(unet, unet.sample_size);
  bytes["vae"] += static_cast<double>(DecodeVaeBytes(vae, unet.sample_size, unet.sample_size));
  const auto most =
      std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  Print(
      "views of {} x {} px; memory, estimated, in fp32: {} at most with one part in memory at a time (in {}), the "
      "weights of all are {}\n",
      side, side, HumanBytes(static_cast<uint64_t>(most->second)), most->first,
      HumanBytes(static_cast<uint64_t>(4 * parameters)));
  return true;
}

bool InspectEncoderFolder(const Path& folder) {
  const bool open_clip = fs::exists(folder / "open_clip_config.json");
  const Path file = folder / (open_clip ? "open_clip_config.json" : "config.json");
  const Json json = ReadJson(file);
  std::string what;
  double parameters = 0;
  if (open_clip && IsConvNext(json)) {
    const ConvNextConfig c = ConvNextConfigFromOpenClip(json, file.string());
    what = Format("open_clip ConvNeXt, {} px, tokens {} x {} of {}, embedding {}", c.image_size, c.grid(), c.grid(),
                  c.widths[3], c.embedding_width);
    parameters = CountConvNextParameters(c);
  } else {
    const ClipVisionConfig c =
        open_clip ? ClipConfigFromOpenClip(json, file.string()) : ClipConfigFromHuggingFace(json, file.string());
    what =
        Format("{} ViT, {} layers of {}, {} px, tokens {} x {} of {}, embedding {}", open_clip ? "open_clip" : "CLIP",
               c.layers, c.width, c.image_size, c.grid(), c.grid(), c.width, c.embedding_width);
    parameters = CountClipParameters(c);
  }
  const Weights weights = WeightsOf(folder);
  Print("{}: encoder folder, {}\n", folder.string(), what);
  PrintComponent("weights", "", weights);
  Print("image tower {}; memory, estimated: {} in fp32 for its weights\n", Millions(static_cast<int64_t>(parameters)),
        HumanBytes(static_cast<uint64_t>(parameters * 4)));
  return true;
}

}  // namespace

void PrintNetworksOfFile(const std::vector<SafetensorsEntry>& tensors) {
  const auto under = [](const SafetensorsEntry& tensor, const char* prefix) {
    return LdmName(tensor.name).starts_with(prefix);
  };
  if (std::none_of(tensors.begin(), tensors.end(), [&](const auto& tensor) { return under(tensor, kLdmUnet); })) return;
  Print("Stable Diffusion in one file, original layout; a generator of views if nothing is missing\n");
  for (const auto& [name, prefix] :
       {std::pair{"UNet", kLdmUnet}, std::pair{"class embedding in it", kLdmClass}, std::pair{"autoencoder", kLdmVae},
        std::pair{"text tower", kLdmText}, std::pair{"image tower", kLdmImage}}) {
    Weights part;
    for (const SafetensorsEntry& tensor : tensors) {
      if (!under(tensor, prefix)) continue;
      part.Add(tensor);
      part.bytes += tensor.end - tensor.begin;
    }
    if (part.parameters == 0) Print("  {:<24} missing\n", name);
    else
      Print("  {:<24} {:>14} parameters  {:<6} {:>8}\n", name, Millions(part.parameters), part.Precision(),
            HumanBytes(part.bytes));
  }
}

bool InspectModelFolder(const Path& folder) {
  if (fs::exists(folder / "model_index.json")) return InspectPipelineFolder(folder);
  if (fs::exists(folder / "open_clip_config.json")) return InspectEncoderFolder(folder);
  if (!fs::exists(folder / "config.json")) return false;
  const Json json = ReadJson(folder / "config.json");
  const std::string type = json.is_object() ? JsonString(json, "model_type", "", folder.string()) : "";
  return (type == "clip" || type == "clip_vision_model") && InspectEncoderFolder(folder);
}

}  // namespace genview
