#include "genview/generator/tower.h"

#include <gtest/gtest.h>

#include "genview/base/folder_lock.h"
#include "genview/base/json.h"
#include "genview/data/shapes.h"
#include "genview/generator/image_tower.h"
#include "genview/generator/test_support.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

TowerConfig Tiny(const Path& out) {
  TowerConfig c;
  c.out = out;
  c.size = 16;
  c.patch = 8;
  c.width = 16;
  c.layers = 1;
  c.heads = 2;
  c.embedding_width = 8;
  c.text_width = 16;
  c.text_heads = 2;
  c.training = {.steps = 4, .shards = 2, .batch = 8, .warmup = 1, .save_every = 2, .log_every = 1};
  c.run.precision = Precision::kFp32;
  return c;
}

TEST(Tower, WrittenFolderIsOpenClipLayoutAndOpens) {
  const TemporaryFolder folder;
  Progress quiet;
  const TowerSummary summary = TrainTower(Tiny(folder.path()), quiet);
  EXPECT_EQ(summary.steps, 4);
  EXPECT_EQ(summary.pictures, 32);
  const ImageTower tower = OpenImageTower(folder.path());
  EXPECT_EQ(tower.vision->config.embedding_width, 8);
  EXPECT_EQ(tower.preprocess.size, 16);
  const Json config = ReadJson(folder.path() / "open_clip_config.json");
  EXPECT_EQ(config["model_cfg"]["text_cfg"]["pool_type"], "first");
  const WeightMap weights = ReadSafetensors(folder.path() / "open_clip_model.safetensors");
  EXPECT_EQ(weights.At("token_embedding.weight").sizes(),
            at::IntArrayRef({static_cast<int64_t>(CaptionWords().size()), 16}));
  EXPECT_EQ(weights.At("visual.conv1.weight").scalar_type(), at::kHalf);
  EXPECT_TRUE(weights.Has("logit_scale"));
}

TEST(Tower, StoppedAndGoneOnWithGivesTheSameBytes) {
  const TemporaryFolder whole, pieces;
  Progress quiet;
  TrainTower(Tiny(whole.path()), quiet);
  for (int64_t attempt = 0;; ++attempt) {
    ASSERT_LT(attempt, 10);
    StopAfterUpdates stop(1);
    try {
      TrainTower(Tiny(pieces.path()), stop);
      break;
    } catch (const Interrupted&) {
    }
  }
  EXPECT_EQ(FolderBytes(whole.path(), {"events.out"}), FolderBytes(pieces.path(), {"events.out"}));
}

TEST(Tower, SaysWhatPartOfItsTimeGoesIntoPictures) {
  const TemporaryFolder folder;
  RecordedProgress progress;
  TrainTower(Tiny(folder.path()), progress);
  ExpectAllStepsWithShares(progress, "tower", 4);
}

TEST(Tower, AFinishedFolderThatIsBeingWorkedOnIsLeftAlone) {
  const TemporaryFolder folder;
  Progress quiet;
  TrainTower(Tiny(folder.path()), quiet);
  std::filesystem::remove(folder.path() / "tower.json");
  const Path part = LeavePart(folder.path());
  {
    const FolderLock other(folder.path());
    EXPECT_THROW(TrainTower(Tiny(folder.path()), quiet), Error);
    EXPECT_FALSE(std::filesystem::exists(folder.path() / "tower.json"));
  }
  TrainTower(Tiny(folder.path()), quiet);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "tower.json"));
  EXPECT_FALSE(std::filesystem::exists(part));
}

TEST(Tower, EmbeddingsHaveUnitDeviationInTheMean) {
  const TemporaryFolder folder;
  Progress quiet;
  TrainTower(Tiny(folder.path()), quiet);
  const ImageTower tower = OpenImageTower(folder.path());
  std::vector<Image> images;
  for (int64_t i = 0; i < 256; ++i) images.push_back(DrawShape({.count = 256, .size = 16, .seed = 77}, i).image);
  const double deviation = Embed(tower, images, at::kCPU, at::kFloat).std(0).mean().item<double>();
  EXPECT_NEAR(deviation, 1, 0.15);
}

TEST(Tower, WhatCannotBeBuiltIsRefusedByItsKey) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& key, auto change) {
    TowerConfig config = Tiny(folder.path() / "tower");
    change(config);
    ExpectRefused(config, key, TrainTower);
  };
  refused("training.shards", [](TowerConfig& c) { c.training.batch = 9; });
  refused("heads", [](TowerConfig& c) { c.heads = 3; });
  refused("text_heads", [](TowerConfig& c) { c.text_heads = 3; });
  refused("patch", [](TowerConfig& c) { c.patch = 17; });
}

}  // namespace
}  // namespace genview
