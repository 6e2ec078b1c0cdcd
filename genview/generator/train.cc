#include "genview/generator/train.h"

#include "genview/base/error.h"
#include "genview/base/folder_lock.h"
#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/source.h"
#include "genview/diffusion/pipeline.h"
#include "genview/diffusion/python_json.h"
#include "genview/generator/generator_page.h"
#include "genview/generator/image_tower.h"
#include "genview/generator/latents.h"
#include "genview/records/refuse_skipped.h"

namespace genview {
namespace {

[[noreturn]] void Refuse(const std::string& key, const std::string& what, const std::string& next) {
  throw UsageError({.what = what, .where = key, .next = next});
}

void CheckChannels(const std::vector<int64_t>& channels, int64_t groups, const std::string& section) {
  if (channels.empty() || channels.size() > 8)
    Refuse(section + ".channels", Format("there are {} resolutions", channels.size()),
           "give 1 to 8 numbers of channels");
  for (const int64_t width : channels) {
    if (width % groups != 0)
      Refuse(section + ".groups", Format("{} groups do not divide {} channels", groups, width),
             "choose a divisor of all channels");
  }
}

// What cannot be built is said before anything is trained, under the key that a recipe has for it.
const GeneratorConfig& Checked(const GeneratorConfig& c) {
  CheckChannels(c.autoencoder.channels, c.autoencoder.groups, "autoencoder");
  CheckChannels(c.denoiser.channels, c.denoiser.groups, "denoiser");
  const std::vector<int64_t>& widths = c.denoiser.channels;
  for (size_t i = widths.size() > 1 ? 1 : 0; i < widths.size(); ++i) {  // the first of several does not attend
    if (widths[i] % c.denoiser.head_width == 0) continue;
    Refuse("denoiser.head_width",
           Format("heads of {} channels do not divide {} channels", c.denoiser.head_width, widths[i]),
           widths.size() > 1 ? "choose a divisor of all channels but the first" : "choose a divisor of the channels");
  }
  CheckShards(c.autoencoder.training, "autoencoder.training");
  CheckShards(c.denoiser.training, "denoiser.training");
  return c;
}

// A pipeline with a text encoder is none that is written here: somebody's model would be replaced part by part.
void RefuseForeignPipeline(const Path& folder) {
  const Path file = folder / "model_index.json";
  std::error_code code;
  if (!std::filesystem::is_regular_file(file, code)) return;
  Json text;
  try {
    const Json index = ReadPythonJson(file);
    if (index.is_object()) text = index.value("text_encoder", Json());
  } catch (const Error&) {
    return;  // a damaged one is written anew
  }
  if (!text.is_array() || text.empty() || text.front().is_null()) return;
  Refuse("out", Format("{} holds a pipeline with a text encoder, which is not of this command", folder.string()),
         "give another folder, or remove this one");
}

class GeneratorTraining {
 public:
  GeneratorTraining(const GeneratorConfig& config, Progress& progress)
      : config_(Checked(config)),
        progress_(progress),
        device_(ChooseDevice(config.run.device)),
        compute_(ChooseCompute(config.run.precision, device_)),
        seed_(Seed(config.run.seed).With("generator")),
        tower_(OpenImageTower(config.encoder, device_)),
        pictures_(OpenSource(config.images), config.size, seed_, config.run.strict) {}

  // What is not of this training, or went further, makes room. Folders of their own: the denoiser may begin anew on the
  // autoencoder that is there.
  void MoveOthersAside() const {
    const auto move = [&](const char* part, const TrainingOptions& options, bool denoiser) {
      const Path folder = Training() / part;
      if (IsOfTraining(folder, Identity(denoiser), options.last_step())) return;
      const Path aside = MoveAside(folder);
      progress_.Warn(
          Format("the {} was trained with other settings or pictures: it begins anew, what was trained is in {}", part,
                 aside.string()));
    };
    move("autoencoder", config_.autoencoder.training, false);
    move("denoiser", config_.denoiser.training, true);
  }

  GeneratorSummary Run() {
    Vae vae = TrainAutoencoder(config_.autoencoder,
                               {pictures_, Training() / "autoencoder", Identity(false), seed_, device_, compute_,
                                config_.size, config_.run.batch},
                               progress_);
    const LatentPictures cached = Cached(vae);
    if (config_.run.strict && pictures_.skipped().count() > 0) {  // what an earlier call left out
      pictures_.skipped().Write(SkippedFile());
      RefuseSkipped(pictures_.skipped().count(), "this generator", SkippedFile());
    }
    EmbeddingNoiser noiser = MakeEmbeddingNoiser(cached.embeddings.size(1));
    noiser.mean = cached.embeddings.mean(0, true);
    if (cached.embeddings.size(0) > 1)  // of a single image there is no deviation: 1 stays
      noiser.std = cached.embeddings.std(0, /*unbiased=*/true, /*keepdim=*/true).clamp_min(1e-6);
    MoveNoiser(noiser);
    const DenoiserRun run{cached, noiser, Training() / "denoiser", Identity(true), seed_, device_, compute_};
    GeneratorSummary summary{.images = cached.latents.size(0),
                             .skipped = pictures_.skipped().count(),
                             .autoencoder_steps = config_.autoencoder.training.last_step(),
                             .denoiser_steps = config_.denoiser.training.last_step(),
                             .scaling_factor = vae.config.scaling_factor};
    Unet unet = TrainDenoiser(config_.denoiser, run, progress_);
    WriteUnclipFolder({tower_.vision ? &*tower_.vision : nullptr, tower_.checkpoint, tower_.preprocess, noiser,
                       DenoiserScheduler(), unet, vae},
                      config_.out, config_.weights == StoredWeights::kFp16 ? at::kHalf : at::kFloat);
    pictures_.skipped().Write(SkippedFile());
    WriteGeneratorPage({.folder = config_.out,
                        .pictures = pictures_,
                        .summary = Json{{"images", summary.images},
                                        {"skipped", summary.skipped},
                                        {"autoencoder_steps", summary.autoencoder_steps},
                                        {"denoiser_steps", summary.denoiser_steps},
                                        {"scaling_factor", summary.scaling_factor}},
                        .seed = config_.run.seed,
                        .device = device_,
                        .compute = compute_});
    return summary;
  }

 private:
  Path Training() const { return config_.out / "training"; }
  Path SkippedFile() const { return config_.out / "skipped.tsv"; }

  void MoveNoiser(EmbeddingNoiser& noiser) const {
    noiser.mean = noiser.mean.to(device_);
    noiser.std = noiser.std.to(device_);
    noiser.alpha_bar = noiser.alpha_bar.to(device_);
  }

  // What the autoencoder (and, with it, the denoiser) depends on.
  Json Identity(bool denoiser) const {
    const auto settings = [](const auto& config) {
      Json json = FieldsToJson(config);
      json["training"] = TrainingIdentity(config.training);
      return json;
    };
    Json identity = {{"images", pictures_.source().Fingerprint()},
                     {"size", config_.size},
                     {"seed", config_.run.seed},
                     {"compute", at::toString(compute_)},
                     {"autoencoder", settings(config_.autoencoder)}};
    if (denoiser) {
      identity["autoencoder_steps"] = config_.autoencoder.training.last_step();
      identity["encoder"] = FingerprintOf(tower_);
      identity["cache"] = config_.cache;
      identity["denoiser"] = settings(config_.denoiser);
    }
    return identity;
  }

  LatentPictures Cached(const Vae& vae) {
    Json identity = Identity(true);
    identity.erase("denoiser");
    const int64_t count = std::min(config_.cache, pictures_.size());
    return CacheLatents({pictures_, tower_, vae, Training(), identity, count, config_.run.batch, device_, compute_},
                        progress_);
  }

  GeneratorConfig config_;
  Progress& progress_;
  at::Device device_;
  at::ScalarType compute_;
  Seed seed_;
  ImageTower tower_;
  TrainingPictures pictures_;
};

}  // namespace

GeneratorSummary TrainGenerator(const GeneratorConfig& config, Progress& progress, OtherTraining other) {
  RefuseAmongPictures(config.images, config.out);
  RefuseForeignPipeline(config.out);
  GeneratorTraining training(config, progress);
  const FolderLock lock(config.out);
  if (other == OtherTraining::kMovedAside) training.MoveOthersAside();
  SweepPartFiles(config.out / "training");  // of a killed call
  SweepUnclipFolder(config.out);
  return training.Run();
}

}  // namespace genview
