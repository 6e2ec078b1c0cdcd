#include "genview/diffusion/noising.h"

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/diffusion/python_json.h"
#include "genview/models/diffusion_blocks.h"
#include "genview/models/weight_files.h"
#include "genview/tensor/safetensors.h"

namespace genview {

Tensor EmbeddingNoiser::Noised(const Tensor& embeddings, const Tensor& levels, const Tensor& noise) const {
  const int64_t n = embeddings.size(0);
  ExpectShape(embeddings, {-1, mean.size(1)}, "embeddings");
  ExpectShape(noise, {n, mean.size(1)}, "embedding noise");
  ExpectShape(levels, {n}, "levels");
  const Tensor m = mean.to(embeddings.device()), s = std.to(embeddings.device());
  return AddNoise(alpha_bar, (embeddings - m) / s, levels, noise) * s + m;
}

Tensor EmbeddingNoiser::ClassVectors(const Tensor& embeddings, const Tensor& levels, const Tensor& noise) const {
  const Tensor noised = Noised(embeddings, levels, noise);
  const Tensor level =
      SinusoidEmbedding(levels.to(embeddings.device()), embeddings.size(1), /*cos_first=*/true, /*shift=*/0);
  return at::cat({noised, level.to(noised.scalar_type())}, 1);
}

EmbeddingNoiser MakeEmbeddingNoiser(int64_t width) {
  NoiseTableConfig cosine;
  cosine.schedule = "squaredcos_cap_v2";
  return {at::zeros({1, width}), at::ones({1, width}), NoiseTable(cosine)};
}

EmbeddingNoiser ReadEmbeddingNoiser(const Path& pipeline, int64_t width) {
  EmbeddingNoiser noiser = MakeEmbeddingNoiser(width);
  const Path scheduler = pipeline / "image_noising_scheduler" / "scheduler_config.json";
  const Json json = ReadPythonJson(scheduler);
  ConfigReader reader(json, scheduler.string());  // of the rest of a DDPM scheduler nothing matters here
  reader.Allow("_class_name", {"DDPMScheduler", "DDIMScheduler", "PNDMScheduler"});  // others add noise by other rules
  noiser.alpha_bar = NoiseTable(ParseNoiseTable(reader, /*ddpm=*/true));

  const Path folder = pipeline / "image_normalizer";
  const WeightMap weights = ReadFolderWeights(folder, {"diffusion_pytorch_model"});
  WeightReader take(weights);
  noiser.mean = take.Take("mean", {1, width});
  noiser.std = take.Take("std", {1, width});
  take.Finish();
  if (!noiser.std.gt(0).all().item<bool>()) {
    throw Error({.what = "a standard deviation of the image embeddings is not positive",
                 .where = folder.string(),
                 .next = "fetch the folder again"});
  }
  return noiser;
}

void WriteEmbeddingNoiser(const EmbeddingNoiser& noiser, const Path& pipeline) {
  const Path folder = pipeline / "image_normalizer";
  WriteSafetensors(folder / "diffusion_pytorch_model.safetensors", {{"mean", noiser.mean}, {"std", noiser.std}},
                   {{"format", "pt"}});
  WriteJson(folder / "config.json", {{"_class_name", "StableUnCLIPImageNormalizer"},
                                     {"_diffusers_version", kDiffusersVersion},
                                     {"embedding_dim", noiser.mean.size(1)}});
  WriteJson(pipeline / "image_noising_scheduler" / "scheduler_config.json", {{"_class_name", "DDPMScheduler"},
                                                                             {"_diffusers_version", kDiffusersVersion},
                                                                             {"num_train_timesteps", noiser.levels()},
                                                                             {"beta_schedule", "squaredcos_cap_v2"}});
}

}  // namespace genview
