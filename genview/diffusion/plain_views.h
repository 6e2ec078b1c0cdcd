// Views of several pictures, each at a noise level: for what shows or measures a generator.
//
//   const UnclipViews views = PlainViews(*pipeline, embeddings, levels, NoiseOf(*pipeline, seeds), {.guidance = 3});
#pragma once

#include <string>
#include <vector>

#include "genview/diffusion/pipeline.h"

namespace genview {

struct DrawnNoise {
  Tensor embedding;  // [N,D]
  Tensor latents;    // [N,4,h,w]
};
DrawnNoise NoiseOf(const UnclipPipeline& pipeline, const std::vector<Seed>& seeds);  // of each picture by itself
DrawnNoise NoiseOf(const UnclipPipeline& pipeline, Seed seed, int64_t count);        // of all together

struct SamplerSettings {
  int64_t steps = 20;
  double guidance = 10;
  std::string scheduler{};             // empty: the generator's own
  std::vector<std::string> prompts{};  // N; empty: no text for any
  std::string negative_prompt{};
};

// embeddings: [N,D] of EncodeImages; levels: N. The caller holds an InferenceMode.
UnclipViews PlainViews(const UnclipPipeline& pipeline, const Tensor& embeddings, const std::vector<int64_t>& levels,
                       const DrawnNoise& noise, const SamplerSettings& settings);

}  // namespace genview
