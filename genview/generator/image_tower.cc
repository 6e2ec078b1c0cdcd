#include "genview/generator/image_tower.h"

#include <c10/core/InferenceMode.h>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/models/weight_files.h"
#include "genview/tensor/device.h"

namespace genview {

ImageTower OpenImageTower(const Path& folder, at::Device device) {
  if (std::filesystem::is_regular_file(folder)) {
    auto backbone = Encoder::Open(folder, device);
    return {.vision = {}, .checkpoint = folder, .backbone = backbone, .preprocess = backbone->preprocess()};
  }
  const Path open_clip = folder / "open_clip_config.json", hugging_face = folder / "config.json";
  const bool is_open_clip = std::filesystem::exists(open_clip);
  if (!is_open_clip && !std::filesystem::exists(hugging_face)) {
    throw Error({.what = "the folder has neither open_clip_config.json nor config.json",
                 .where = folder.string(),
                 .next = "name a folder with a CLIP image tower in open_clip or Hugging Face layout, or a checkpoint of this program"});
  }
  const Path file = is_open_clip ? open_clip : hugging_face;
  const Json json = ReadJson(file);
  ImageTower tower;
  tower.vision = MakeClipVision(is_open_clip ? ClipConfigFromOpenClip(json, file.string()) : ClipConfigFromHuggingFace(json, file.string()));
  const WeightMap weights = ReadFolderWeights(folder, is_open_clip ? std::vector<std::string>{"open_clip_model"} : std::vector<std::string>{"model"});
  WeightReader reader(weights);
  const ClipLayout layout = is_open_clip ? ClipLayout::kOpenClip : ClipLayout::kHuggingFace;
  LoadClipVision(*tower.vision, reader, layout);
  reader.Finish(ClipIgnored(layout));
  const int64_t size = tower.vision->config.image_size;
  const Path processor = folder / "preprocessor_config.json";
  if (is_open_clip) {
    tower.preprocess = PreprocessFromOpenClip(json.value("preprocess_cfg", Json::object()), size, file.string());
  } else if (std::filesystem::exists(processor)) {
    tower.preprocess = PreprocessFromHuggingFace(ReadJson(processor), size, processor.string());
  } else {
    tower.preprocess = {.size = size, .resize_shortest = size, .floor_crop = true};
  }
  return tower;
}

Tensor EncoderPixels(const Preprocess& p, const std::vector<Image>& images) {
  Tensor pixels = at::empty({static_cast<int64_t>(images.size()), 3, p.size, p.size});
  const auto floats = static_cast<size_t>(3 * p.size * p.size);
  for (size_t i = 0; i < images.size(); ++i) {
    Normalise(ApplyGeometry(p, images[i]), p.mean, p.std, {pixels.data_ptr<float>() + i * floats, floats});
  }
  return pixels;
}

std::string FingerprintOf(const ImageTower& tower) {
  if (!tower.vision) return tower.backbone->fingerprint();
  std::string all;
  ClipVision vision = *tower.vision;  // shares its tensors
  for (const auto& [name, tensor] : NamedTensors(ListWeights(vision))) {
    const Tensor flat = tensor.contiguous();
    all += Format("{}:{:016x};", name, Hash64({static_cast<const char*>(flat.data_ptr()), flat.nbytes()}));
  }
  return Fingerprint(all);
}

void MoveTower(ImageTower& tower, at::Device device) {
  if (tower.vision) MoveWeights(ListWeights(*tower.vision), device);
}

Tensor Embed(const ImageTower& tower, const std::vector<Image>& images, at::Device device, at::ScalarType compute) {
  const c10::InferenceMode inference;
  const ComputeScope scope(device, compute);
  if (!tower.vision) return tower.backbone->Encode(EncoderPixels(tower.preprocess, images), /*tokens=*/false).embeddings.cpu();
  return ForwardClipVision(*tower.vision, EncoderPixels(tower.preprocess, images).to(device)).embedding.to(at::kCPU, at::kFloat);
}

}  // namespace genview
