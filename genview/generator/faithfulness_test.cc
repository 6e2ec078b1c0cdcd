#include "genview/generator/faithfulness.h"

#include <gtest/gtest.h>

#include <c10/core/InferenceMode.h>

#include "genview/base/json.h"
#include "genview/generator/shapes_feed.h"
#include "genview/generator/test_support.h"
#include "genview/generator/tiny_generator.h"

namespace genview {
namespace {

JudgeConfig TinyJudge() {
  JudgeConfig c;
  c.size = 16;
  c.backbone.width = 1.0 / 16;
  c.training.steps = 2;
  c.training.batch = 10;
  c.training.warmup = 1;
  return c;
}

TEST(Judge, LearnsWhatItIsShown) {
  const TemporaryFolder folder;
  JudgeConfig config = TinyJudge();
  config.backbone.width = 0.25;
  config.training = {.steps = 40, .shards = 1, .batch = 30, .lr = 3e-3, .warmup = 5, .average = 0};
  RunOptions run;
  run.precision = Precision::kFp32;
  Progress quiet;
  const Judge judge = TrainJudge(config, folder.path(), run, quiet);
  const c10::InferenceMode inference;
  constexpr std::array<double, 3> kHalf{0.5, 0.5, 0.5};
  const ShapesBatch seen =
      DrawShapesBatch({.count = 1200, .size = 16, .seed = config.pictures_seed}, 0, 300, kHalf, kHalf);
  const double right = JudgeClasses(judge, seen.pixels).eq(seen.labels).to(at::kFloat).mean().item<double>();
  EXPECT_GT(right, 0.2);  // one in ten by chance
}

TEST(Judge, SaysWhatPartOfItsTimeGoesIntoPictures) {
  const TemporaryFolder folder;
  RecordedProgress progress;
  TrainJudge(TinyJudge(), folder.path(), {}, progress);
  ExpectAllStepsWithShares(progress, "judge", 2);
}

TEST(Judge, SeveralShardsAreRefused) {
  const TemporaryFolder folder;
  JudgeConfig config = TinyJudge();
  config.training.shards = 2;
  Progress quiet;
  EXPECT_THROW(TrainJudge(config, folder.path(), {}, quiet), UsageError);
}

TEST(MeasureFaithfulness, TablesEveryLevelAndIsRepeatable) {
  const TemporaryFolder tower, generator, first, second;
  Progress quiet;
  TrainGenerator(TinyGenerator(WriteTinyTower(tower.path()), generator.path()), quiet);
  FaithfulnessConfig config;
  config.generator = generator.path();
  config.out = first.path();
  config.pictures = 4;
  config.levels = {0, 400};
  config.steps = 2;
  config.judge = TinyJudge();
  config.run.precision = Precision::kFp32;
  const Faithfulness table = MeasureFaithfulness(config, quiet);
  ASSERT_EQ(table.rows.size(), 2u);
  EXPECT_EQ(table.rows[1].level, 400);
  for (const FaithfulnessRow& row : table.rows) {
    EXPECT_LE(row.low, row.kept);
    EXPECT_LE(row.kept, row.high);
    EXPECT_LE(std::abs(row.cosine), 1 + 1e-6);
  }
  const Json written = ReadJson(first.path() / "faithfulness.json");
  EXPECT_EQ(written["rows"].size(), 2u);
  EXPECT_NEAR(written["real_percent"].get<double>(), table.real, 1e-9);
  EXPECT_TRUE(std::filesystem::exists(first.path() / "views.png"));
  config.out = second.path();
  const Path part = LeavePart(config.out);
  MeasureFaithfulness(config, quiet);
  EXPECT_FALSE(std::filesystem::exists(part));
  EXPECT_EQ(ReadFile(first.path() / "faithfulness.json"), ReadFile(second.path() / "faithfulness.json"));
}

}  // namespace
}  // namespace genview
