#include "genview/generator/latents.h"

#include <algorithm>
#include <optional>

#include <c10/core/InferenceMode.h>

#include "genview/base/text.h"
#include "genview/diffusion/picture_tensors.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

constexpr int64_t kGroup = 128;  // pictures encoded together at most; part of what the bytes depend on

std::optional<WeightMap> ReadLatents(const LatentsRun& run, const Path& file) {
  std::error_code code;
  if (!std::filesystem::exists(file, code)) return std::nullopt;
  WeightMap stored = ReadSafetensors(file);
  if (stored.Metadata("identity") != run.identity.dump()) return std::nullopt;
  if (const std::string bad = stored.Metadata("skipped"); !bad.empty()) AddSkipped(bad, run.pictures.skipped());
  return stored;
}

void WriteLatents(const LatentsRun& run, const Path& file, const std::vector<Tensor>& latents,
                  const std::vector<Tensor>& embeddings) {
  WriteSafetensors(file, {{"latents", at::cat(latents)}, {"embeddings", at::cat(embeddings)}},
                   {{"identity", run.identity.dump()}, {"skipped", SkippedToText(run.pictures.skipped())}});
}

struct Inputs {
  Tensor pixels;  // [N,3,S,S] of the autoencoder
  Tensor tower;   // [N,3,T,T] of the image tower
};

// No picture is kept as the source has it: a photograph takes hundreds of times the memory of what the networks see.
Inputs ReadInputs(const LatentsRun& run, int64_t position, int64_t count) {
  std::vector<Image> small;
  std::vector<Tensor> tower;
  for (const int64_t index : run.pictures.Indices(position, count)) {
    const Image original = run.pictures.Original(index);
    small.push_back(run.pictures.Resized(original));
    tower.push_back(PixelsForEncoder(run.tower.preprocess, original));
  }
  return {FromImages(small), at::stack(tower)};
}

void Encode(const LatentsRun& run, const Path& file, Progress& progress) {
  const c10::InferenceMode inference;
  MoveTower(run.tower, run.device);
  const int64_t side = std::max(run.vae.config.sample_size, run.tower.preprocess.size);
  const int64_t group = PicturesAtOnce(run.batch, side, kGroup);
  std::vector<Tensor> latents, embeddings;
  ReadingTime reading;
  progress.Begin("latents", run.count, "images");
  for (int64_t first = 0; first < run.count; first += group) {
    progress.ThrowIfStopped();
    const int64_t count = std::min(group, run.count - first);
    const Inputs inputs = reading.Of([&] { return ReadInputs(run, first, count); });
    const ComputeScope scope(run.device, run.compute);
    latents.push_back(EncodeVae(run.vae, inputs.pixels.to(run.device))
                          .mean.to(at::kCPU, at::kFloat)
                          .mul_(run.vae.config.scaling_factor)
                          .to(at::kHalf));
    embeddings.push_back(EmbedPixels(run.tower, inputs.tower, run.device, run.compute));
    progress.Update(first + count, reading.Share());
  }
  MoveTower(run.tower, at::kCPU);
  WriteLatents(run, file, latents, embeddings);
  progress.End(Format("{} images", run.count));
}

}  // namespace

LatentPictures CacheLatents(const LatentsRun& run, Progress& progress) {
  const Path file = run.folder / "latents.safetensors";
  std::optional<WeightMap> stored = ReadLatents(run, file);
  if (!stored) {
    Encode(run, file, progress);
    stored = ReadSafetensors(file);  // what a resumed run will see
  }
  return {stored->At("latents").to(at::kFloat), stored->At("embeddings").clone()};  // of memory that goes with the map
}

}  // namespace genview
