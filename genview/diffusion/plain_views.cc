#include "genview/diffusion/plain_views.h"

namespace genview {

DrawnNoise NoiseOf(const UnclipPipeline& pipeline, const std::vector<Seed>& seeds) {
  std::vector<Tensor> embedding, latents;
  for (const Seed seed : seeds) {
    embedding.push_back(NormalTensor(seed.With("embedding"), {pipeline.embedding_width()}));
    latents.push_back(NormalTensor(seed.With("latents"), pipeline.latent_shape()));
  }
  return {at::stack(embedding), at::stack(latents)};
}

DrawnNoise NoiseOf(const UnclipPipeline& pipeline, Seed seed, int64_t count) {
  std::vector<int64_t> shape = pipeline.latent_shape();
  shape.insert(shape.begin(), count);
  return {NormalTensor(seed.With("embedding"), {count, pipeline.embedding_width()}),
          NormalTensor(seed.With("latents"), shape)};
}

UnclipViews PlainViews(const UnclipPipeline& pipeline, const Tensor& embeddings, const std::vector<int64_t>& levels,
                       const DrawnNoise& noise, const SamplerSettings& settings) {
  return pipeline.Generate({.embeddings = embeddings,
                            .levels = levels,
                            .guidance = std::vector<double>(levels.size(), settings.guidance),
                            .embedding_noise = noise.embedding,
                            .latents = noise.latents,
                            .steps = settings.steps,
                            .scheduler = settings.scheduler,
                            .prompts = settings.prompts,
                            .negative_prompt = settings.negative_prompt});
}

}  // namespace genview
