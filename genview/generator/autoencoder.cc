#include "genview/generator/autoencoder.h"

#include <c10/core/InferenceMode.h>

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {
namespace {

Tensor AcrossDifference(const Tensor& x) { return x.narrow(3, 1, x.size(3) - 1) - x.narrow(3, 0, x.size(3) - 1); }
Tensor DownDifference(const Tensor& x) { return x.narrow(2, 1, x.size(2) - 1) - x.narrow(2, 0, x.size(2) - 1); }

// Over pictures from the beginning of the order; the latents' mean is near 0 thanks to the divergence term.
double ScalingFactor(const Vae& vae, const AutoencoderRun& run) {
  const c10::InferenceMode inference;
  const ComputeScope scope(run.device, run.compute);
  constexpr int64_t kPictures = 1024;
  const int64_t group = PicturesAtOnce(run.batch, run.size, /*most=*/64);
  std::vector<Tensor> latents;
  for (int64_t first = 0; first < kPictures; first += group) {
    const Tensor pixels = run.pictures.Batch(first, std::min(group, kPictures - first));
    latents.push_back(EncodeVae(vae, pixels.to(run.device)).mean.to(at::kFloat));
  }
  return 1 / std::max(at::cat(latents).std().item<double>(), 1e-6);
}

}  // namespace

Tensor AutoencoderLoss(const Vae& vae, const AutoencoderConfig& config, const Tensor& pixels, const Tensor& noise,
                       Json* row) {
  const VaeMoments m = EncodeVae(vae, pixels);
  const Tensor mean = m.mean.to(at::kFloat), logvar = m.logvar.to(at::kFloat);
  const Tensor made = DecodeVae(vae, mean + (logvar * 0.5).exp() * noise).to(at::kFloat);
  const Tensor error = (made - pixels).abs().mean();
  const Tensor edges = (AcrossDifference(made) - AcrossDifference(pixels)).abs().mean() +
                       (DownDifference(made) - DownDifference(pixels)).abs().mean();
  const Tensor divergence = (mean.square() + logvar.exp() - 1 - logvar).mean() / 2;
  if (row != nullptr) {
    (*row)["error"] = error.item<double>();
    (*row)["edge_error"] = edges.item<double>();
    (*row)["divergence"] = divergence.item<double>();
  }
  return error + edges * (config.edge / 2) + divergence * config.kl;
}

Vae TrainAutoencoder(const AutoencoderConfig& config, const AutoencoderRun& run, Progress& progress) {
  const TrainingOptions& o = config.training;
  Vae vae = MakeVae({.latent_channels = config.latent_channels,
                     .channels = config.channels,
                     .layers_per_block = config.layers,
                     .groups = config.groups,
                     .sample_size = run.size,
                     .mid_attention = false});
  if (run.size % vae.config.scale() != 0) {
    throw UsageError({.what = Format("a size of {} px is not a multiple of {}", run.size, vae.config.scale()),
                      .where = "size",
                      .next = "choose another size, or fewer entries in autoencoder.channels"});
  }
  InitWeights(ListWeights(vae), run.seed.With("autoencoder"));
  MoveWeights(ListWeights(vae), run.device);
  if (!run.device.is_cpu()) UseChannelsLast(ListWeights(vae));
  Vae averaged = vae;
  CloneWeights(ListWeights(averaged));
  Replicas<Vae> replicas(vae, o.shards);
  const int64_t side = run.size / vae.config.scale(), count = o.batch / o.shards;
  ReadingTime reading;

  RunTraining({.folder = run.folder,
               .name = "autoencoder",
               .identity = run.identity,
               .weights = ListWeights(vae),
               .averaged = ListWeights(averaged),
               .replicas = replicas.Lists(),
               .options = o,
               .loss =
                   [&](int64_t step, int64_t shard, Json& row) {
                     const int64_t first = step * o.batch + shard * count;
                     const Tensor pixels = reading.Of([&] { return run.pictures.Batch(first, count); }).to(run.device);
                     const Tensor noise = NormalTensor(run.seed.With("latent noise").With(static_cast<uint64_t>(first)),
                                                       {count, config.latent_channels, side, side})
                                              .to(run.device);
                     const ComputeScope scope(run.device, run.compute);
                     return AutoencoderLoss(replicas[shard], config, pixels, noise,
                                            shard == 0 && (step + 1) % o.log_every == 0 ? &row : nullptr);
                   },
               .review = {},
               .reading = &reading,
               .skipped = run.pictures.skipped()},
              progress);
  averaged.config.scaling_factor = ScalingFactor(averaged, run);
  return averaged;
}

}  // namespace genview
