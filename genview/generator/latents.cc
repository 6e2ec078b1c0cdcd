#include "genview/generator/latents.h"

#include <algorithm>
#include <optional>

#include <c10/core/InferenceMode.h>

#include "genview/base/text.h"
#include "genview/diffusion/picture_tensors.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

constexpr int64_t kGroup = 128;         // pictures encoded together at most; part of what the bytes depend on
constexpr int64_t kPiece = 8 * kGroup;  // pictures in a file of their own until all are there

constexpr std::string_view kName = "latents", kEnding = ".safetensors";

Path WholeFile(const Path& folder) { return folder / Format("{}{}", kName, kEnding); }
Path PieceFile(const Path& folder, int64_t first) { return folder / Format("{}-{:09}{}", kName, first, kEnding); }

void RemovePieces(const Path& folder) {
  std::error_code code, ignored;
  for (std::filesystem::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with(Format("{}-", kName)) && name.ends_with(kEnding)) std::filesystem::remove(it->path(), ignored);
  }
}

// The file, where it holds so many pictures and is of this identity.
std::optional<WeightMap> ReadLatents(const LatentsRun& run, const Path& file, int64_t pictures) {
  std::error_code code;
  if (!std::filesystem::exists(file, code)) return std::nullopt;
  WeightMap stored = ReadSafetensors(file);
  if (stored.Metadata("identity") != run.identity.dump() || stored.At("latents").size(0) != pictures)
    return std::nullopt;
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

// Pictures begin .. end-1 of the order.
void Encode(const LatentsRun& run, int64_t begin, int64_t end, ReadingTime& reading, Progress& progress) {
  const int64_t side = std::max(run.vae.config.sample_size, run.tower.preprocess.size);
  const int64_t group = PicturesAtOnce(run.batch, side, kGroup);
  std::vector<Tensor> latents, embeddings;
  for (int64_t first = begin; first < end; first += group) {
    progress.ThrowIfStopped();
    const int64_t count = std::min(group, end - first);
    const Inputs inputs = reading.Of([&] { return ReadInputs(run, first, count); });
    const ComputeScope scope(run.device, run.compute);
    latents.push_back(EncodeVae(run.vae, inputs.pixels.to(run.device))
                          .mean.to(at::kCPU, at::kFloat)
                          .mul_(run.vae.config.scaling_factor)
                          .to(at::kHalf));
    embeddings.push_back(EmbedPixels(run.tower, inputs.tower, run.device, run.compute));
    progress.Update(first + count, reading.Share());
  }
  WriteLatents(run, PieceFile(run.folder, begin), latents, embeddings);
}

void EncodeAll(const LatentsRun& run, Progress& progress) {
  const c10::InferenceMode inference;
  MoveTower(run.tower, run.device);
  std::vector<WeightMap> pieces;
  ReadingTime reading;
  progress.Begin("latents", run.count, "images");
  for (int64_t begin = 0; begin < run.count; begin += kPiece) {
    const int64_t end = std::min(run.count, begin + kPiece);
    const Path file = PieceFile(run.folder, begin);
    std::optional<WeightMap> piece = ReadLatents(run, file, end - begin);
    if (!piece) {
      Encode(run, begin, end, reading, progress);
      piece = ReadSafetensors(file);
    }
    pieces.push_back(std::move(*piece));
  }
  MoveTower(run.tower, at::kCPU);
  std::vector<Tensor> latents, embeddings;
  for (const WeightMap& piece : pieces) {
    latents.push_back(piece.At("latents"));
    embeddings.push_back(piece.At("embeddings"));
  }
  WriteLatents(run, WholeFile(run.folder), latents, embeddings);
  progress.End(Format("{} images", run.count));
}

}  // namespace

LatentPictures CacheLatents(const LatentsRun& run, Progress& progress) {
  std::optional<WeightMap> stored = ReadLatents(run, WholeFile(run.folder), run.count);
  if (!stored) {
    EncodeAll(run, progress);
    stored = ReadSafetensors(WholeFile(run.folder));  // what a resumed run will see
  }
  RemovePieces(run.folder);
  return {stored->At("latents").to(at::kFloat), stored->At("embeddings").clone()};  // of memory that goes with the map
}

}  // namespace genview
