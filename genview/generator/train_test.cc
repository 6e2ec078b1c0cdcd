#include "genview/generator/train.h"

#include <gtest/gtest.h>

#include <c10/core/InferenceMode.h>

#include "genview/base/folder_lock.h"
#include "genview/base/json.h"
#include "genview/base/text.h"
#include "genview/data/shapes.h"
#include "genview/data/tar_writer.h"
#include "genview/diffusion/pipeline.h"
#include "genview/generator/test_support.h"
#include "genview/generator/tiny_generator.h"
#include "genview/models/encoder.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

TEST(TrainGenerator, WritesAPipelineThatOpensAndGenerates) {
  const TemporaryFolder tower, out;
  Progress quiet;
  const GeneratorSummary summary = TrainGenerator(TinyGenerator(WriteTinyTower(tower.path()), out.path()), quiet);
  EXPECT_EQ(summary.images, 12);
  EXPECT_EQ(summary.skipped, 0);
  EXPECT_GT(summary.scaling_factor, 0);
  for (const char* file :
       {"model_index.json", "samples.png", "reconstructions.png", "index.html", "unet/config.json", "vae/config.json",
        "scheduler/scheduler_config.json", "image_noising_scheduler/scheduler_config.json",
        "feature_extractor/preprocessor_config.json", "training/denoiser/log.jsonl"}) {
    EXPECT_TRUE(std::filesystem::exists(out.path() / file)) << file;
  }
  const c10::InferenceMode inference;
  const auto pipeline = UnclipPipeline::Open(out.path(), at::kCPU, at::kFloat);
  EXPECT_EQ(pipeline->embedding_width(), 8);
  EXPECT_EQ(pipeline->native_size(), 16);
  const Json index = ReadJson(out.path() / "model_index.json");
  EXPECT_EQ(index["text_encoder"], Json({nullptr, nullptr}));
  EXPECT_NEAR(ReadJson(out.path() / "vae/config.json")["scaling_factor"].get<double>(), summary.scaling_factor, 1e-9);
}

// An older one does not know `mid_block_add_attention`, and looks for weights that are not there.
TEST(TrainGenerator, ItsFolderNamesAVersionOfDiffusersThatKnowsIt) {
  const TemporaryFolder tower, out;
  Progress quiet;
  TrainGenerator(TinyGenerator(WriteTinyTower(tower.path()), out.path()), quiet);
  EXPECT_EQ(ReadJson(out.path() / "vae/config.json")["mid_block_add_attention"], false);
  for (const char* file : {"model_index.json", "unet/config.json", "vae/config.json", "scheduler/scheduler_config.json",
                           "image_normalizer/config.json", "image_noising_scheduler/scheduler_config.json"}) {
    EXPECT_EQ(ReadJson(out.path() / file)["_diffusers_version"], "0.30.0") << file;
  }
}

TEST(TrainGenerator, SaysWhatPartOfItsTimeGoesIntoReadingPictures) {
  const TemporaryFolder tower, out;
  GeneratorConfig config = TinyGenerator(WriteTinyTower(tower.path()), out.path());
  config.autoencoder.training.log_every = 100;
  RecordedProgress progress;
  TrainGenerator(config, progress);
  ExpectAllStepsWithShares(progress, "autoencoder", 3);
}

TEST(TrainGenerator, ImageEncoderIsTheTowerItWasTrainedWith) {
  const TemporaryFolder tower, out;
  Progress quiet;
  const Path encoder = WriteTinyTower(tower.path());
  GeneratorConfig config = TinyGenerator(encoder, out.path());
  config.weights = StoredWeights::kFp32;
  TrainGenerator(config, quiet);
  const auto before = Encoder::Open(encoder), after = Encoder::Open(out.path() / "image_encoder");
  const Tensor pixels = NormalTensor(Seed(1), {2, 3, 16, 16});
  const c10::InferenceMode inference;
  EXPECT_TRUE(at::equal(before->Encode(pixels, false).embeddings, after->Encode(pixels, false).embeddings));
}

TEST(TrainGenerator, ACheckpointServesAsTheEncoder) {
  const TemporaryFolder folder, out;
  const Json config = {{"type", "resnet18"}, {"width", 1.0 / 32}, {"small_stem", true}, {"image_size", 16}};
  const auto backbone = MakeBackbone(config);
  backbone->Init(Seed(6));
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const auto& [name, tensor] : NamedTensors(backbone->Weights()))
    tensors.emplace_back("encoder." + name, tensor.contiguous());
  const Path file = folder.path() / "mine.safetensors";
  WriteSafetensors(file, tensors, {{"genview", Json{{"kind", "pretrain"}, {"backbone", config}}.dump()}});
  Progress quiet;
  TrainGenerator(TinyGenerator(file, out.path()), quiet);
  EXPECT_EQ(ReadFile(file), ReadFile(out.path() / "image_encoder/encoder.safetensors"));
  const auto pipeline = UnclipPipeline::Open(out.path());
  const Tensor pixels = NormalTensor(Seed(1), {2, 3, 16, 16});
  const c10::InferenceMode inference;
  EXPECT_EQ(pipeline->embedding_width(), 16);
  EXPECT_TRUE(at::equal(pipeline->EncodeImages(pixels), Encoder::Open(file)->Encode(pixels, false).embeddings));
  EXPECT_TRUE(at::equal(pipeline->EncodeImages(pixels), Encoder::Open(out.path())->Encode(pixels, false).embeddings));
  const Json index = ReadJson(out.path() / "model_index.json");
  EXPECT_EQ(index["image_encoder"], Json({"genview", "GenViewEncoder"}));
}

TEST(TrainGenerator, StoppedAnywhereEndsWithTheSameBytes) {
  const TemporaryFolder tower, whole, pieces;
  const Path encoder = WriteTinyTower(tower.path());
  Progress quiet;
  TrainGenerator(TinyGenerator(encoder, whole.path()), quiet);
  int64_t stops = 0;
  for (;; ++stops) {
    ASSERT_LT(stops, 30);
    StopAfterUpdates stop(1);
    try {
      TrainGenerator(TinyGenerator(encoder, pieces.path()), stop);
      break;
    } catch (const Interrupted&) {
    }
  }
  EXPECT_GE(stops, 4);
  EXPECT_EQ(FolderBytes(whole.path(), {"events.out"}), FolderBytes(pieces.path(), {"events.out"}));
}

TEST(TrainGenerator, RunningAFinishedFolderAgainChangesNothing) {
  const TemporaryFolder tower, out;
  const GeneratorConfig config = TinyGenerator(WriteTinyTower(tower.path()), out.path());
  Progress quiet;
  TrainGenerator(config, quiet);
  const auto before = FolderBytes(out.path());
  for (const char* part : {"", "training", "unet", "scheduler"}) LeavePart(out.path() / part);
  TrainGenerator(config, quiet);
  EXPECT_EQ(before, FolderBytes(out.path()));
}

TEST(TrainGenerator, MoreStepsGoOnAndOtherSettingsMoveWhatIsThereAside) {
  const TemporaryFolder tower, out, whole;
  const Path encoder = WriteTinyTower(tower.path());
  Progress quiet;
  const auto train = [&](GeneratorConfig config, const Path& folder) {
    config.out = folder;
    TrainGenerator(config, quiet, OtherTraining::kMovedAside);
    return FolderBytes(folder, {"events.out"});
  };
  GeneratorConfig config = TinyGenerator(encoder, "");
  config.denoiser.training.stop_after = 2;
  train(config, out.path());
  config.denoiser.training.stop_after = 0;
  EXPECT_EQ(train(config, out.path()), train(config, whole.path()));
  const Path aside = out.path() / "training/denoiser-before", other = out.path() / "training/autoencoder-before";
  EXPECT_FALSE(std::filesystem::exists(aside));

  config.denoiser.training.stop_after = 1;  // not what three steps gave
  train(config, out.path());
  EXPECT_TRUE(std::filesystem::exists(aside / "log.jsonl"));
  EXPECT_FALSE(std::filesystem::exists(other));
  std::filesystem::remove_all(aside);
  std::filesystem::remove_all(whole.path());
  EXPECT_EQ(FolderBytes(out.path(), {"events.out"}), train(config, whole.path()));

  config.autoencoder.training.lr = 0.01;  // the denoiser learns from other latents
  train(config, out.path());
  EXPECT_TRUE(std::filesystem::exists(aside) && std::filesystem::exists(other));
  config.denoiser.training.lr = 0.01;
  config.out = out.path();
  EXPECT_THROW(TrainGenerator(config, quiet), Error);
}

TEST(TrainGenerator, SomebodysPipelineIsNotReplaced) {
  const TemporaryFolder tower, out;
  WriteJson(out.path() / "model_index.json", {{"text_encoder", Json::array({"transformers", "CLIPTextModel"})}});
  WriteFile(out.path() / "unet/config.json", "{}");
  const auto before = FolderBytes(out.path());
  Progress quiet;
  EXPECT_THROW(TrainGenerator(TinyGenerator(WriteTinyTower(tower.path()), out.path()), quiet), UsageError);
  EXPECT_EQ(before, FolderBytes(out.path()));
}

TEST(TrainGenerator, OneImageIsEnough) {
  const TemporaryFolder tower, out;
  GeneratorConfig config = TinyGenerator(WriteTinyTower(tower.path()), out.path());
  config.cache = 1;
  Progress quiet;
  EXPECT_EQ(TrainGenerator(config, quiet).images, 1);
  EXPECT_NO_THROW(UnclipPipeline::Open(out.path()));
}

TEST(TrainGenerator, AFinishedFolderThatIsBeingWorkedOnIsLeftAlone) {
  const TemporaryFolder tower, out;
  const GeneratorConfig config = TinyGenerator(WriteTinyTower(tower.path()), out.path());
  Progress quiet;
  TrainGenerator(config, quiet);
  std::filesystem::remove(out.path() / "samples.png");
  const auto before = FolderBytes(out.path());
  const FolderLock other(out.path());
  EXPECT_THROW(TrainGenerator(config, quiet), Error);
  EXPECT_EQ(before, FolderBytes(out.path()));
}

TEST(TrainGenerator, UnreadableImagesAreReplacedAndListed) {
  const TemporaryFolder tower, images, out;
  for (int64_t i = 0; i < 6; ++i) {
    const ShapesPicture picture = DrawShape({.count = 6, .size = 16, .seed = 3}, i);
    WriteFile(images.path() / Format("{}.png", i), EncodePng(picture.image));
  }
  WriteFile(images.path() / "3.png", "not a picture");
  GeneratorConfig config = TinyGenerator(WriteTinyTower(tower.path()), out.path());
  config.images = images.path().string();
  Progress quiet;
  const GeneratorSummary summary = TrainGenerator(config, quiet);
  EXPECT_EQ(summary.images, 6);
  EXPECT_EQ(summary.skipped, 1);
  EXPECT_NE(ReadFile(out.path() / "skipped.tsv").find("3.png"), std::string::npos);
  config.run.strict = true;
  const TemporaryFolder strict;
  config.out = strict.path();
  EXPECT_THROW(TrainGenerator(config, quiet), Error);
}

// Of black pictures, 0000.png and on; one of them none.
void WriteShard(const Path& file, int64_t pictures, int64_t bad) {
  std::string tar;
  for (int64_t i = 0; i < pictures; ++i) {
    const std::string bytes = i == bad ? "not a picture" : EncodePng(Image(4, 4));
    tar += TarHeader(Format("{:04}.png", i), bytes.size()) + bytes + TarPadding(bytes.size());
  }
  WriteFile(file, tar + TarEnd());
}

// More pictures than a finished folder looks at again.
TEST(TrainGenerator, WhatWasLeftOutIsKnownWhenThereIsNothingLeftToDo) {
  const TemporaryFolder tower, images, out;
  constexpr int64_t kPictures = 1100;
  GeneratorConfig config = TinyGenerator(WriteTinyTower(tower.path()), out.path());
  config.images = (images.path() / "shard.tar").string();
  config.cache = kPictures;
  WriteShard(config.images, kPictures, /*bad=*/-1);
  const TrainingPictures pictures(OpenSource(config.images), config.size, Seed(config.run.seed).With("generator"),
                                  /*strict=*/false);
  const int64_t last = pictures.Indices(kPictures - 1, 1)[0];
  WriteShard(config.images, kPictures, last);
  Progress quiet;
  EXPECT_EQ(TrainGenerator(config, quiet).skipped, 1);
  EXPECT_NE(ReadFile(out.path() / "skipped.tsv").find(Format("{:04}.png", last)), std::string::npos);
  const auto before = FolderBytes(out.path());
  EXPECT_EQ(TrainGenerator(config, quiet).skipped, 1);
  EXPECT_EQ(before, FolderBytes(out.path()));
  config.run.strict = true;
  EXPECT_THROW(TrainGenerator(config, quiet), Error);
  EXPECT_EQ(before, FolderBytes(out.path()));
}

// As a kill before the latents does, where there is a picture that the autoencoder alone has met.
TEST(TrainGenerator, WhatTheAutoencoderLeftOutIsKnownAfterAKill) {
  const TemporaryFolder tower, images, whole, cut;
  constexpr int64_t kPictures = 1100;
  GeneratorConfig config = TinyGenerator(WriteTinyTower(tower.path()), whole.path());
  config.images = (images.path() / "shard.tar").string();
  config.autoencoder.training.batch = 400;
  WriteShard(config.images, kPictures, /*bad=*/-1);
  const TrainingPictures pictures(OpenSource(config.images), config.size, Seed(config.run.seed).With("generator"),
                                  /*strict=*/false);
  WriteShard(config.images, kPictures, /*bad=*/pictures.Indices(kPictures - 1, 1)[0]);
  Progress quiet;
  EXPECT_EQ(TrainGenerator(config, quiet).skipped, 1);
  config.out = cut.path();
  StopAtStage stop("latents");
  EXPECT_THROW(TrainGenerator(config, stop), Interrupted);
  EXPECT_EQ(TrainGenerator(config, quiet).skipped, 1);
  EXPECT_EQ(FolderBytes(whole.path(), {"events.out"}), FolderBytes(cut.path(), {"events.out"}));
}

TEST(TrainGenerator, AFolderThatIsNoTowerIsNamed) {
  const TemporaryFolder empty, out;
  Progress quiet;
  try {
    TrainGenerator(TinyGenerator(empty.path(), out.path()), quiet);
    FAIL() << "an empty folder was taken for a tower";
  } catch (const Error& error) {
    EXPECT_EQ(error.text().where, empty.path().string());
  }
}

TEST(TrainGenerator, NetworksThatCannotBeBuiltAreRefusedBeforeAnythingIsTrained) {
  const TemporaryFolder tower, out;
  const GeneratorConfig good = TinyGenerator(WriteTinyTower(tower.path()), out.path() / "generator");
  const auto refused = [&](const std::string& key, auto change) {
    GeneratorConfig config = good;
    change(config);
    ExpectRefused(config, key, [](const GeneratorConfig& c, Progress& progress) { TrainGenerator(c, progress); });
  };
  refused("denoiser.head_width", [](GeneratorConfig& c) { c.denoiser.head_width = 5; });
  refused("denoiser.head_width", [](GeneratorConfig& c) { c.denoiser.channels = {12}, c.denoiser.head_width = 8; });
  refused("denoiser.groups", [](GeneratorConfig& c) { c.denoiser.groups = 3; });
  refused("denoiser.groups", [](GeneratorConfig& c) { c.denoiser.channels = {10, 16}; });
  refused("denoiser.channels", [](GeneratorConfig& c) { c.denoiser.channels = {}; });
  refused("denoiser.training.shards", [](GeneratorConfig& c) { c.denoiser.training.shards = 3; });
  refused("autoencoder.groups", [](GeneratorConfig& c) { c.autoencoder.groups = 3; });
  refused("autoencoder.channels", [](GeneratorConfig& c) { c.autoencoder.channels = std::vector<int64_t>(9, 8); });
  refused("autoencoder.training.shards", [](GeneratorConfig& c) { c.autoencoder.training.shards = 3; });
}

TEST(AutoencoderLoss, PartsAreWhatTheyAreCalled) {
  AutoencoderConfig config;
  config.channels = {8, 8};
  config.groups = 4;
  Vae vae = MakeVae(
      {.channels = config.channels, .layers_per_block = 1, .groups = 4, .sample_size = 8, .mid_attention = false});
  InitWeights(ListWeights(vae), Seed(1));
  const Tensor pixels = UniformTensor(Seed(2), {2, 3, 8, 8}, -1, 1), noise = NormalTensor(Seed(3), {2, 4, 4, 4});
  Json row;
  const double loss = AutoencoderLoss(vae, config, pixels, noise, &row).item<double>();
  const VaeMoments m = EncodeVae(vae, pixels);
  const Tensor made = DecodeVae(vae, m.mean + (m.logvar / 2).exp() * noise);
  double divergence = 0;
  const Tensor mean = m.mean.contiguous().flatten(), logvar = m.logvar.contiguous().flatten();
  for (int64_t i = 0; i < mean.numel(); ++i) {
    const double mu = mean[i].item<double>(), lv = logvar[i].item<double>();
    divergence += 0.5 * (mu * mu + std::exp(lv) - 1 - lv) / static_cast<double>(mean.numel());
  }
  EXPECT_NEAR(row["error"].get<double>(), (made - pixels).abs().mean().item<double>(), 1e-5);
  EXPECT_NEAR(row["divergence"].get<double>(), divergence, 1e-5);
  EXPECT_NEAR(loss,
              row["error"].get<double>() + config.edge / 2 * row["edge_error"].get<double>() + config.kl * divergence,
              1e-5);
}

TEST(DenoiserLoss, IsZeroForTheTrueAnswerAndOneForZeroPrediction) {
  DenoiserConfig config;
  config.channels = {8};
  config.groups = 4;
  config.head_width = 8;
  Unet unet = MakeUnet(DenoiserUnet(config, 4, 4, 6));
  InitWeights(ListWeights(unet), Seed(1));
  unet.conv_out.weight.zero_();
  unet.conv_out.bias.zero_();
  const Tensor alpha_bar = NoiseTable(DenoiserScheduler().noise);
  const Tensor latents = NormalTensor(Seed(2), {64, 4, 4, 4}), noise = NormalTensor(Seed(3), {64, 4, 4, 4});
  const Tensor times = at::arange(64, at::kLong) * 15;
  // v of two independent unit normals is a unit normal.
  EXPECT_NEAR(DenoiserLoss(unet, alpha_bar, latents, noise, times, at::zeros({64, 12})).item<double>(), 1, 0.06);
  // Where there is next to no noise, v is the noise: a network that knows it has no loss.
  const Tensor a = alpha_bar[0];
  const Tensor target = a.sqrt() * noise - (1 - a).sqrt() * latents;
  const double loss =
      DenoiserLoss(unet, alpha_bar, latents, noise, at::zeros({64}, at::kLong), at::zeros({64, 12})).item<double>();
  EXPECT_NEAR(loss, target.square().mean().item<double>(), 1e-4);
}

}  // namespace
}  // namespace genview
