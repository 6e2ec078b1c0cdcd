#include "genview/generator/image_tower.h"

#include <c10/core/InferenceMode.h>

#include "genview/base/error.h"
#include "genview/diffusion/picture_tensors.h"
#include "genview/models/encoder_files.h"
#include "genview/tensor/device.h"

namespace genview {

ImageTower OpenImageTower(const Path& folder_or_file, at::Device device) {
  const EncoderPlace place = FindEncoder(folder_or_file);
  if (place.kind == EncoderKind::kCheckpoint) {
    auto backbone = Encoder::Open(place.path, device);
    return {.vision = {}, .checkpoint = place.path, .backbone = backbone, .preprocess = backbone->preprocess()};
  }
  const TowerFiles files = ReadTowerFiles(place);
  const auto* config = std::get_if<ClipVisionConfig>(&files.config);
  if (config == nullptr) {
    throw Error(
        {.what = "a generator's folder has no place for a ConvNeXt tower",
         .where = files.where,
         .next = "name a folder with a CLIP ViT in open_clip or Hugging Face layout, or a checkpoint of this program"});
  }
  // What the generator's folder, which is transformers', has no words for is said before anything is trained.
  (void)ClipConfigToHuggingFace(*config);
  (void)PreprocessToHuggingFace(files.preprocess, files.where);
  return {.vision = LoadClipTower(files, *config, Reads::kAll),
          .checkpoint = {},
          .backbone = {},
          .preprocess = files.preprocess};
}

std::string FingerprintOf(const ImageTower& tower) {
  if (!tower.vision) return tower.backbone->fingerprint();
  ClipVision vision = *tower.vision;  // shares its tensors
  return FingerprintTensors(NamedTensors(ListWeights(vision)));
}

void MoveTower(ImageTower& tower, at::Device device) {
  if (tower.vision) MoveWeights(ListWeights(*tower.vision), device);
}

Tensor Embed(const ImageTower& tower, const std::vector<Image>& images, at::Device device, at::ScalarType compute) {
  return EmbedPixels(tower, EncoderPixels(tower.preprocess, images), device, compute);
}

Tensor EmbedPixels(const ImageTower& tower, const Tensor& pixels, at::Device device, at::ScalarType compute) {
  const c10::InferenceMode inference;
  const ComputeScope scope(device, compute);
  if (!tower.vision) return tower.backbone->Encode(pixels, /*tokens=*/false).embeddings.cpu();
  return ForwardClipVision(*tower.vision, pixels.to(device)).embedding.to(at::kCPU, at::kFloat);
}

}  // namespace genview
