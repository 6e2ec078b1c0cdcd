#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>

#include "genview/base/text.h"
#include "genview/image/image.h"
#include "genview/records/records.h"
#include "genview/views/generate.h"
#include "genview/views/plan.h"
#include "genview/views/request.h"
#include "genview/views/verify.h"
#include "tests/source_dir.h"

namespace genview {
namespace {

namespace fs = std::filesystem;

class Verify : public testing::Test {
 protected:
  static void SetUpTestSuite() { at::set_num_threads(1); }
  void SetUp() override {
    folder_ = Path(testing::TempDir()) / (std::string("genview-verify-") + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    config_.images = "shapes:count=6,size=24,seed=1";
    config_.generator = SourceDir() / "tests/golden/diffusion/pipeline_pndm";
    config_.out = folder_ / "views";
    config_.policy = NoisePolicy::kRandom;
    config_.steps = 2;
    config_.run.batch = 2;
    config_.run.device = DeviceChoice::kCpu;
    config_.run.precision = Precision::kFp32;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::map<std::string, std::string> Files() const {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(config_.out)) {
      if (entry.is_regular_file()) files[entry.path().lexically_relative(config_.out).string()] = ReadFile(entry.path());
    }
    return files;
  }
  std::vector<ViewRow> Rows() const { return ReadViewTable(config_.out / "manifest.jsonl"); }
  void WriteRows(const std::vector<ViewRow>& rows) const {
    std::string text;
    for (const ViewRow& row : rows) text += ViewRowToJson(row).dump() + "\n";
    WriteFile(config_.out / "manifest.jsonl", text);
  }

  Progress quiet_;
  Path folder_;
  ViewsConfig config_;
};

TEST_F(Verify, AWholeFolderHasNoProblems) {
  GenerateViews(config_, quiet_);
  const VerifyReport report = VerifyViews({.folder = config_.out, .repair = false}, quiet_);
  EXPECT_EQ(report.problems, std::vector<std::string>());
  EXPECT_EQ(report.rows, 6);
  EXPECT_EQ(report.missing, 0);
}

// Each kind of damage is named, and repaired to the bytes that were there.
TEST_F(Verify, EveryDamageIsNamedAndMended) {
  GenerateViews(config_, quiet_);
  const auto whole = Files();
  const auto rows = Rows();
  const Path first = config_.out / rows[0].file, second = config_.out / rows[1].file;
  const std::string manifest = whole.at("manifest.jsonl");
  struct Damage {
    const char* word;
    std::function<void()> make;
  };
  const auto change = [&](auto&& one) {
    auto changed = rows;
    one(changed[2]);
    WriteRows(changed);
  };
  const std::vector<Damage> damages = {
      {"not there", [&] { fs::remove(first); }},
      {"bytes", [&] { WriteFile(first, ReadFile(first) + "x"); }},
      {"bytes", [&] { WriteFile(first, ""); }},
      {"contents", [&] { std::string bytes = ReadFile(first); bytes[bytes.size() / 2] ^= 1; WriteFile(first, bytes); }},
      {"the file", [&] { fs::rename(first, folder_ / "x"), fs::rename(second, first), fs::rename(folder_ / "x", second); }},
      {"black", [&] { const std::string black = EncodePng(Image(16, 16)); WriteFile(first, black); auto changed = rows; changed[0].hash.clear(); changed[0].bytes = 0; WriteRows(changed); }},
      {"no picture", [&] { WriteFile(first, "text"); auto changed = rows; changed[0].hash.clear(); changed[0].bytes = 0; WriteRows(changed); }},
      {"same picture", [&] { WriteFile(first, ReadFile(second)); auto changed = rows; changed[0].hash = rows[1].hash; changed[0].bytes = rows[1].bytes; WriteRows(changed); }},
      {"without a row", [&] { WriteFile(config_.out / "stranger.png", "x"); }},
      {"without a row", [&] { WriteRows({rows.begin() + 1, rows.end()}); }},
      {"line 1", [&] { WriteFile(config_.out / "manifest.jsonl", "{]\n" + manifest); }},
      {"line 2", [&] { WriteFile(config_.out / "manifest.jsonl", manifest.substr(0, manifest.find('\n') + 1) + "{}\n" + manifest.substr(manifest.find('\n') + 1)); }},
      {"there twice", [&] { WriteFile(config_.out / "manifest.jsonl", manifest + manifest); }},
      {"steps", [&] { change([](ViewRow& row) { row.steps = 7; }); }},
      {"guidance", [&] { change([](ViewRow& row) { row.guidance = 1.5; }); }},
      {"seed", [&] { change([](ViewRow& row) { row.seed += 1; }); }},
      {"not a path inside", [&] { change([](ViewRow& row) { row.file = "../x.png"; }); }},
      {"two rows", [&] { change([&](ViewRow& row) { row.file = rows[3].file; row.hash = rows[3].hash; row.bytes = rows[3].bytes; }); }},
      {"without a row", [&] { fs::remove(config_.out / "manifest.jsonl"); }},
  };
  for (const Damage& damage : damages) {
    damage.make();
    const VerifyReport report = VerifyViews({.folder = config_.out, .repair = false}, quiet_);
    const bool named = std::any_of(report.problems.begin(), report.problems.end(), [&](const std::string& p) { return p.find(damage.word) != std::string::npos; });
    EXPECT_TRUE(named) << damage.word << ": " << Format("{}", fmt::join(report.problems, "; "));
    VerifyViews({.folder = config_.out, .repair = true}, quiet_);
    EXPECT_EQ(Files(), whole) << damage.word;
    EXPECT_TRUE(VerifyViews({.folder = config_.out, .repair = false}, quiet_).problems.empty());
  }
}

TEST_F(Verify, AJobThatWasCutShortIsSaidToMissViews) {
  struct Stops : Progress {
    bool Stopped() const override { return updates >= 1; }
    void Update(int64_t, double, std::string_view) override { ++updates; }
    int updates = 0;
  } stops;
  EXPECT_THROW(GenerateViews(config_, stops), Interrupted);
  EXPECT_EQ(VerifyViews({.folder = config_.out, .repair = false}, quiet_).missing, 4);
  EXPECT_EQ(VerifyViews({.folder = config_.out, .repair = true}, quiet_).made, 4);
  EXPECT_EQ(VerifyViews({.folder = config_.out, .repair = false}, quiet_).missing, 0);
}

TEST_F(Verify, WhatCannotBeMadeAgainIsSaidBeforeAnythingGoes) {
  EXPECT_THROW(VerifyViews({.folder = folder_, .repair = false}, quiet_), Error);
  GenerateViews(config_, quiet_);
  fs::remove(config_.out / "request.json");
  fs::remove(config_.out / Rows()[0].file);
  const auto before = Files();
  EXPECT_THROW(VerifyViews({.folder = config_.out, .repair = true}, quiet_), Error);
  EXPECT_EQ(Files(), before);
}

TEST_F(Verify, TheRequestIsTheConfigAndMovesWithItsFolder) {
  config_.policy = NoisePolicy::kAdaptive;
  config_.ratios = folder_ / "foreground/ratios.tsv";
  const Json request = ViewsRequest(config_);
  EXPECT_EQ(request["ratios"], "../foreground/ratios.tsv");
  EXPECT_FALSE(request.contains("out"));
  EXPECT_FALSE(request["run"].contains("threads"));
  WriteJson(config_.out / "request.json", request);
  WriteFile(config_.ratios, "");
  fs::rename(folder_, folder_.string() + "-moved");
  const auto read = ReadViewsRequest(folder_.string() + "-moved/views");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->ratios, Path(folder_.string() + "-moved/foreground/ratios.tsv"));
  EXPECT_EQ(read->steps, 2);
  EXPECT_EQ(read->images, config_.images);
  EXPECT_EQ(read->generator, config_.generator);
  fs::rename(folder_.string() + "-moved", folder_);
}

TEST_F(Verify, APlanSaysWhatAJobCostsAndWritesNothing) {
  config_.steps = 6;
  config_.format = ViewFormat::kJpeg;
  const ViewsPlan plan = PlanViews(config_, {.seconds = 20}, quiet_);
  EXPECT_FALSE(fs::exists(config_.out));
  EXPECT_EQ(plan.views, 6);
  EXPECT_EQ(plan.width, 16);
  EXPECT_GT(plan.disk_bytes(), 6 * 300);
  int chosen = 0;
  for (const PlannedBatch& batch : plan.batches) {
    EXPECT_LE(batch.least, batch.seconds);
    EXPECT_GE(batch.most, batch.seconds);
    EXPECT_GT(batch.views_per_second, 0);
    EXPECT_GT(batch.peak_bytes, 0u);
    if (!batch.chosen) continue;
    ++chosen;
    EXPECT_EQ(batch.batch, 2);
    EXPECT_TRUE(batch.whole);
  }
  EXPECT_EQ(chosen, 1);
  const std::string text = PlanToText(config_, plan);
  EXPECT_NE(text.find("6 views of 6 pictures, 16 x 16 px jpeg"), std::string::npos) << text;
  // Too little time for a single whole batch: reckoned.
  config_.steps = 900;
  const ViewsPlan hasty = PlanViews(config_, {.seconds = 0.01}, quiet_);
  for (const PlannedBatch& batch : hasty.batches) EXPECT_FALSE(batch.whole);
}

}  // namespace
}  // namespace genview
