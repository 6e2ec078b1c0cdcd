// `genview generator train RECIPE.toml`: a generator of views from the user's own images, without labels or texts.
//
//   GeneratorConfig config{.images = "photos/", .encoder = "models/demo/tower", .out = "generators/photos"};
//   GeneratorSummary summary = TrainGenerator(config, progress);
//   auto pipeline = UnclipPipeline::Open("generators/photos");       // diffusers opens the folder, too
//
// Four stages, each resumable to the same bytes: the autoencoder; latents and embeddings of the images; the denoiser,
// told the noised embedding; the folder.
#pragma once

#include "genview/generator/autoencoder.h"
#include "genview/generator/denoiser.h"
#include "genview/tensor/run_options.h"

namespace genview {

enum class StoredWeights { kFp16, kFp32 };
template <>
struct EnumNames<StoredWeights> {
  static constexpr std::pair<StoredWeights, const char*> kNames[] = {{StoredWeights::kFp16, "fp16"},
                                                                     {StoredWeights::kFp32, "fp32"}};
};

struct GeneratorConfig {
  std::string images;
  Path encoder;
  Path out;
  int64_t size = 32;        // px
  int64_t cache = 100'000;  // images that the denoiser learns from, at most
  StoredWeights weights = StoredWeights::kFp16;
  AutoencoderConfig autoencoder;
  DenoiserConfig denoiser;
  RunOptions run;
};

template <class Visit>
void VisitFields(GeneratorConfig& c, Visit&& visit) {
  visit("images", c.images, Required{}, "images to learn from: folder, list, shards or shapes:...");
  visit("encoder", c.encoder, Required{},
        "CLIP image tower (a folder) or checkpoint whose embeddings are the condition");
  visit("out", c.out, Required{}, "pipeline folder to write");
  visit("size", c.size, Range<int64_t>{8, 1024}, "width and height of generated pictures, in pixels");
  visit("cache", c.cache, Range<int64_t>{1, 100'000'000},
        "images whose latents and embeddings are kept for the denoiser, at most");
  visit("weights", c.weights, Any{}, "precision of the written weights");
  visit("autoencoder", c.autoencoder, Section{}, "between pictures and latents");
  visit("denoiser", c.denoiser, Section{}, "from noise and an embedding to latents");
  visit("run", c.run, Section{}, "where it is computed");
}

struct GeneratorSummary {
  int64_t images = 0, skipped = 0;
  int64_t autoencoder_steps = 0, denoiser_steps = 0;
  double scaling_factor = 0;
};

// What is done with a training of other settings or pictures in the folder, or of more steps than are asked for.
enum class OtherTraining {
  kRefused,     // an Error; more steps are taken as they are
  kMovedAside,  // renamed to training/PART-before; the part is trained anew
};

// Resumes. What is trained is not trained again; the pipeline and the page are written from it anew, to the same bytes.
// Beside the pipeline: training/ (logs, checkpoints), reconstructions.png, samples.png, index.html, skipped.tsv.
// Throws Error for a folder that another process works on; UsageError for one among the pictures.
GeneratorSummary TrainGenerator(const GeneratorConfig& config, Progress& progress,
                                OtherTraining other = OtherTraining::kRefused);

}  // namespace genview
