// Second half of a generator: the network that makes a latent picture out of noise, told the embedding of an image with
// some noise of its own and how much.
#pragma once

#include "genview/diffusion/noising.h"
#include "genview/diffusion/scheduler.h"
#include "genview/generator/training.h"
#include "genview/models/unet.h"

namespace genview {

struct DenoiserConfig {
  std::vector<int64_t> channels{96, 192};  // one per resolution, the first is the latent's
  int64_t layers = 1;                      // residual blocks per resolution
  int64_t head_width = 32;                 // channels of an attention head; all resolutions but the first attend
  int64_t groups = 8;                      // of the norms
  double drop_condition = 0.1;             // share of pictures trained without condition, for guidance
  int64_t usual_level = 400;               // levels up to this one are the ones that views are made with
  double usual_share = 0.7;                // of the draws, uniform up to usual_level; the others over all levels
  TrainingOptions training{.steps = 10000, .batch = 128, .lr = 1e-3, .weight_decay = 0.01, .average = 0.9995};
};

template <class Visit>
void VisitFields(DenoiserConfig& c, Visit&& visit) {
  visit("channels", c.channels, Range<int64_t>{1, 8192}, "channels per resolution");
  visit("layers", c.layers, Range<int64_t>{1, 16}, "residual blocks per resolution");
  visit("head_width", c.head_width, Range<int64_t>{1, 8192}, "channels of an attention head");
  visit("groups", c.groups, Range<int64_t>{1, 1024}, "groups of the norms; must divide all channels");
  visit("drop_condition", c.drop_condition, Range<double>{0, 1}, "share of pictures trained without condition");
  visit("usual_level", c.usual_level, Range<int64_t>{0, 999}, "largest noise level that views will be made with");
  visit("usual_share", c.usual_share, Range<double>{0, 1},
        "share of the levels drawn up to usual_level, the others over all");
  visit("training", c.training, Section{}, "how it is trained");
}

struct LatentPictures {
  Tensor latents;     // [M,L,h,w] fp32, scaled to a deviation of 1
  Tensor embeddings;  // [M,D] fp32
};

struct DenoiserRun {  // borrowed for the call
  const LatentPictures& pictures;
  const EmbeddingNoiser& noiser;
  Path folder;  // log and checkpoints
  Json identity;
  Seed seed;
  at::Device device;
  at::ScalarType compute;
};

// The noise of pictures and the prediction that denoisers of this folder are made for.
SchedulerConfig DenoiserScheduler();

UnetConfig DenoiserUnet(const DenoiserConfig& config, int64_t latent_channels, int64_t latent_size,
                        int64_t embedding_width);

// Trains (or goes on) and returns the averaged network.
Unet TrainDenoiser(const DenoiserConfig& config, const DenoiserRun& run, Progress& progress);

// Mean squared error of the predicted v = sqrt(a) noise - sqrt(1 - a) x. labels: [N,2D], zeros without condition.
Tensor DenoiserLoss(const Unet& unet, const Tensor& alpha_bar, const Tensor& latents, const Tensor& noise,
                    const Tensor& times, const Tensor& labels);

}  // namespace genview
