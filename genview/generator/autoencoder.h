// First half of a generator: the autoencoder between pictures and the small latent pictures that the denoiser works on.
#pragma once

#include "genview/generator/pictures.h"
#include "genview/generator/training.h"
#include "genview/models/vae.h"

namespace genview {

struct AutoencoderConfig {
  std::vector<int64_t> channels{32, 64, 64};  // one per resolution; n of them: latents 2^(n-1) times smaller
  int64_t layers = 1;                         // residual blocks per resolution
  int64_t latent_channels = 4;
  int64_t groups = 8;  // of the norms
  double kl = 3e-4;    // weight of the latents' divergence from N(0, 1)
  double edge = 1;     // weight of the error of horizontal and vertical differences
  TrainingOptions training{.steps = 4000, .batch = 64, .lr = 2e-3, .weight_decay = 1e-4, .average = 0.998};
};

template <class Visit>
void VisitFields(AutoencoderConfig& c, Visit&& visit) {
  visit("channels", c.channels, Range<int64_t>{1, 8192},
        "channels per resolution; n of them make latents 2^(n-1) times smaller");
  visit("layers", c.layers, Range<int64_t>{1, 16}, "residual blocks per resolution");
  visit("latent_channels", c.latent_channels, Range<int64_t>{1, 64}, "channels of a latent");
  visit("groups", c.groups, Range<int64_t>{1, 1024}, "groups of the norms; must divide all channels");
  visit("kl", c.kl, Range<double>{0, 100}, "weight of the latents' divergence from a normal distribution");
  visit("edge", c.edge, Range<double>{0, 100}, "weight of the error of differences between neighbours");
  visit("training", c.training, Section{}, "how it is trained");
}

struct AutoencoderRun {  // borrowed for the call
  const TrainingPictures& pictures;
  Path folder;  // log and checkpoints
  Json identity;
  Seed seed;
  at::Device device;
  at::ScalarType compute;
  int64_t size;   // px
  int64_t batch;  // pictures encoded together once it is trained; 0: as many as fit
};

// Trains (or goes on) and returns the averaged autoencoder, its scaling_factor set to 1 / deviation of the latents.
Vae TrainAutoencoder(const AutoencoderConfig& config, const AutoencoderRun& run, Progress& progress);

// Mean absolute error plus the weighted terms; the parts go to `row`. noise: [N,L,h,w], N(0, 1).
Tensor AutoencoderLoss(const Vae& vae, const AutoencoderConfig& config, const Tensor& pixels, const Tensor& noise,
                       Json* row);

}  // namespace genview
