#include "genview/generator/denoiser.h"

#include <algorithm>

#include "genview/base/text.h"

namespace genview {
namespace {

Tensor PerRow(const Tensor& values) { return values.unsqueeze(1).unsqueeze(2).unsqueeze(3); }

Unet FreshDenoiser(const DenoiserConfig& config, const DenoiserRun& run) {
  const Tensor& latents = run.pictures.latents;
  Unet unet = MakeUnet(DenoiserUnet(config, latents.size(1), latents.size(2), run.pictures.embeddings.size(1)));
  InitWeights(ListWeights(unet), run.seed.With("denoiser"));
  // The first prediction is zero: the mean of what is to be predicted.
  unet.conv_out.weight = at::zeros_like(unet.conv_out.weight);
  unet.conv_out.bias = at::zeros_like(unet.conv_out.bias);
  MoveWeights(ListWeights(unet), run.device);
  if (!run.device.is_cpu()) UseChannelsLast(ListWeights(unet));
  return unet;
}

// What is drawn for the pictures at positions first .. first+count-1 of the endless order.
struct Draws {
  std::vector<int64_t> indices, times, levels;
  std::vector<float> keep;  // 0: without condition
};

Draws DrawFor(const DenoiserConfig& config, Seed seed, const std::vector<int64_t>& indices, int64_t first,
              int64_t train_times, int64_t levels) {
  Draws draws{.indices = indices, .times = {}, .levels = {}, .keep = {}};
  for (size_t i = 0; i < indices.size(); ++i) {
    Random random(seed.With("draws").With(static_cast<uint64_t>(first) + i));
    draws.times.push_back(random.Below(train_times));
    draws.levels.push_back(random.Chance(config.usual_share) ? random.Below(config.usual_level + 1)
                                                             : random.Below(levels));
    draws.keep.push_back(random.Chance(config.drop_condition) ? 0.0f : 1.0f);
  }
  return draws;
}

}  // namespace

SchedulerConfig DenoiserScheduler() {
  SchedulerConfig config;
  config.kind = SchedulerKind::kDpmSolverMultistep;
  config.noise = {.beta_start = 0.00085, .beta_end = 0.012, .schedule = "scaled_linear", .trained_betas = {}};
  config.prediction = Prediction::kV;
  config.spacing = "linspace";
  config.steps_offset = 1;
  return config;
}

UnetConfig DenoiserUnet(const DenoiserConfig& config, int64_t latent_channels, int64_t latent_size,
                        int64_t embedding_width) {
  const size_t count = config.channels.size();
  UnetConfig c;
  c.sample_size = latent_size;
  c.in_channels = c.out_channels = latent_channels;
  c.channels = config.channels;
  c.down_blocks.assign(count, "AttnDownBlock2D");
  c.up_blocks.assign(count, "AttnUpBlock2D");
  if (count > 1) {  // attention over the finest resolution costs most and brings least
    c.down_blocks.front() = "DownBlock2D";
    c.up_blocks.back() = "UpBlock2D";
  }
  c.mid_block = "UNetMidBlock2D";
  c.layers_per_block.assign(count, config.layers);
  c.attention_head_dim.assign(count, config.head_width);
  c.cross_attention_dim.assign(count, embedding_width);
  c.transformer_layers.assign(count, 1);
  c.class_width = 2 * embedding_width;
  c.groups = config.groups;
  return c;
}

Tensor DenoiserLoss(const Unet& unet, const Tensor& alpha_bar, const Tensor& latents, const Tensor& noise,
                    const Tensor& times, const Tensor& labels) {
  const Tensor a = alpha_bar.index_select(0, times);
  const Tensor signal = PerRow(a.sqrt()), spread = PerRow((1 - a).sqrt());
  const Tensor target = signal * noise - spread * latents;
  const Tensor made = ForwardUnet(unet, signal * latents + spread * noise, times, labels, {}).to(at::kFloat);
  return (made - target).square().mean();
}

Unet TrainDenoiser(const DenoiserConfig& config, const DenoiserRun& run, Progress& progress) {
  const TrainingOptions& o = config.training;
  Unet unet = FreshDenoiser(config, run);
  Unet averaged = unet;
  CloneWeights(ListWeights(averaged));
  Replicas<Unet> replicas(unet, o.shards);
  const Tensor alpha_bar = NoiseTable(DenoiserScheduler().noise).to(run.device);
  const Tensor& latents = run.pictures.latents;
  const int64_t count = o.batch / o.shards, pictures = latents.size(0), width = run.pictures.embeddings.size(1);
  const EndlessOrder order(run.seed.With("denoiser order"), pictures);

  const auto loss = [&](int64_t step, int64_t shard, Json&) {
    const int64_t first = step * o.batch + shard * count;
    const Draws draws =
        DrawFor(config, run.seed, order.Indices(first, count), first, alpha_bar.size(0), run.noiser.levels());
    const Tensor indices = at::tensor(draws.indices, at::kLong),
                 levels = at::tensor(draws.levels, at::kLong).to(run.device);
    const Tensor times = at::tensor(draws.times, at::kLong).to(run.device),
                 keep = at::tensor(draws.keep).to(run.device);
    const Seed own = run.seed.With("noise").With(static_cast<uint64_t>(first));
    const Tensor x = latents.index_select(0, indices).to(run.device);
    const Tensor noise = NormalTensor(own.With("latents"), x.sizes()).to(run.device);
    const Tensor embeddings = run.pictures.embeddings.index_select(0, indices).to(run.device);
    const Tensor labels = run.noiser.ClassVectors(embeddings, levels,
                                                  NormalTensor(own.With("embeddings"), {count, width}).to(run.device));
    const ComputeScope scope(run.device, run.compute);
    return DenoiserLoss(replicas[shard], alpha_bar, x, noise, times, labels * keep.unsqueeze(1));
  };
  RunTraining({.folder = run.folder,
               .name = "denoiser",
               .identity = run.identity,
               .weights = ListWeights(unet),
               .averaged = ListWeights(averaged),
               .replicas = replicas.Lists(),
               .options = o,
               .loss = loss,
               .review = {}},
              progress);
  return averaged;
}

}  // namespace genview
