#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>

#include "genview/base/folder_lock.h"
#include "genview/base/text.h"
#include "genview/data/generated_views.h"
#include "genview/image/image.h"
#include "genview/records/records.h"
#include "genview/tensor/safetensors.h"
#include "genview/views/generate.h"
#include "genview/views/plan.h"
#include "genview/views/request.h"
#include "genview/views/verify.h"
#include "genview/views/view_noise.h"
#include "tests/source_dir.h"

namespace genview {
namespace {

namespace fs = std::filesystem;

class Verify : public testing::Test {
 protected:
  static void SetUpTestSuite() { at::set_num_threads(1); }
  void SetUp() override {
    folder_ = Path(testing::TempDir()) /
              (std::string("genview-verify-") + testing::UnitTest::GetInstance()->current_test_info()->name());
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
      if (entry.is_regular_file())
        files[entry.path().lexically_relative(config_.out).string()] = ReadFile(entry.path());
    }
    return files;
  }
  std::vector<ViewRow> Rows() const { return ReadViewTable(config_.out / "manifest.jsonl"); }
  void WriteRows(const std::vector<ViewRow>& rows) const {
    std::string text;
    for (const ViewRow& row : rows) text += ViewRowToJson(row).dump() + "\n";
    WriteFile(config_.out / "manifest.jsonl", text);
  }

  struct Damage {
    const char* word;            // in what is said of it
    std::function<void()> make;  // to a whole folder
  };
  void ExpectMended(const std::vector<Damage>& damages);

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
void Verify::ExpectMended(const std::vector<Damage>& damages) {
  const auto whole = Files();
  for (const Damage& damage : damages) {
    SCOPED_TRACE(Format("damage {}: {}", &damage - damages.data(), damage.word));
    damage.make();
    const VerifyReport report = VerifyViews({.folder = config_.out, .repair = false}, quiet_);
    const bool named = std::any_of(report.problems.begin(), report.problems.end(),
                                   [&](const std::string& p) { return p.find(damage.word) != std::string::npos; });
    EXPECT_TRUE(named) << Format("{}", fmt::join(report.problems, "; "));
    VerifyViews({.folder = config_.out, .repair = true}, quiet_);
    EXPECT_EQ(Files(), whole);
    const auto left = VerifyViews({.folder = config_.out, .repair = false}, quiet_).problems;
    EXPECT_TRUE(left.empty()) << Format("{}", fmt::join(left, "; "));
  }
}

TEST_F(Verify, DamagedPicturesAreNamedAndMended) {
  GenerateViews(config_, quiet_);
  const auto rows = Rows();
  const Path first = config_.out / rows[0].file, second = config_.out / rows[1].file;
  // A file that is what its row says, but no view.
  const auto forged = [&, this](const std::string& bytes) {
    WriteFile(first, bytes);
    auto changed = rows;
    changed[0].hash.clear();
    changed[0].bytes = 0;
    WriteRows(changed);
  };
  ExpectMended({
      {"not there", [&] { fs::remove(first); }},
      {"not there", [&] { fs::remove(first), fs::create_directory(first); }},
      {"not there", [&] { fs::remove(first), fs::create_symlink("nowhere.png", first); }},
      {"not there", [&] { fs::remove_all(first.parent_path()); }},
      {"bytes", [&] { WriteFile(first, ReadFile(first) + "x"); }},
      {"bytes", [&] { WriteFile(first, ReadFile(first).substr(0, 100)); }},
      {"bytes", [&] { WriteFile(first, ""); }},
      {"contents",
       [&] {
         std::string bytes = ReadFile(first);
         bytes[bytes.size() / 2] ^= 1;
         WriteFile(first, bytes);
       }},
      {"contents", [&] { WriteFile(first, std::string(ReadFile(first).size(), '\0')); }},
      {"the file",
       [&] { fs::rename(first, folder_ / "x"), fs::rename(second, first), fs::rename(folder_ / "x", second); }},
      {"black", [&] { forged(EncodePng(Image(16, 16))); }},
      {"no picture", [&] { forged("text"); }},
      {"no picture", [&] { forged(EncodePng(Image(16, 16)).substr(0, 50)); }},
      {"same picture",
       [&] {
         WriteFile(first, ReadFile(second));
         auto changed = rows;
         changed[0].hash = rows[1].hash;
         changed[0].bytes = rows[1].bytes;
         WriteRows(changed);
       }},
      {"without a row", [&] { WriteFile(config_.out / "stranger.png", "x"); }},
      {"without a row", [&] { WriteFile(first.parent_path() / "stranger.JPG", "x"); }},
      {"shard without a row", [&] { WriteFile(config_.out / "views-0000.tar", "x"); }},
  });
}

TEST_F(Verify, DamagedRowsAreNamedAndMended) {
  GenerateViews(config_, quiet_);
  const auto rows = Rows();
  const std::string manifest = ReadFile(config_.out / "manifest.jsonl");
  const size_t second_line = manifest.find('\n') + 1;
  const auto insert = [&](const std::string& line) {
    WriteFile(config_.out / "manifest.jsonl", manifest.substr(0, second_line) + line + manifest.substr(second_line));
  };
  const auto change = [&](auto one) {
    return [&, one] {
      auto changed = rows;
      one(changed[2]);
      WriteRows(changed);
    };
  };
  const auto edit = [&](const char* from, const char* to) {
    return [&, from, to] {
      std::string text = manifest;
      const size_t at = text.find(from, second_line);
      ASSERT_NE(at, std::string::npos) << from;
      WriteFile(config_.out / "manifest.jsonl", text.replace(at, std::string_view(from).size(), to));
    };
  };
  ExpectMended({
      {"without a row", [&] { fs::remove(config_.out / "manifest.jsonl"); }},
      {"without a row", [&] { WriteFile(config_.out / "manifest.jsonl", ""); }},
      {"without a row", [&] { WriteRows({rows.begin() + 1, rows.end()}); }},
      {"without a row", [&] { WriteFile(config_.out / "manifest.jsonl", manifest.substr(0, manifest.size() - 10)); }},
      {"line 1", [&] { WriteFile(config_.out / "manifest.jsonl", "{]\n" + manifest); }},
      {"line 1", [&] { WriteFile(config_.out / "manifest.jsonl", manifest.substr(30)); }},
      {"line 1",
       [&] {
         std::string text = manifest;
         text[9] = '\xff';
         WriteFile(config_.out / "manifest.jsonl", text);
       }},
      {"line 1",
       [&] {
         WriteFile(config_.out / "manifest.jsonl", manifest.substr(0, second_line - 1) + manifest.substr(second_line));
       }},
      {"line 2", [&] { insert("{}\n"); }},
      {"line 2", [&] { insert("[1, 2]\n"); }},
      {"line 2", [&] { insert("17\n"); }},
      {"line 2", [&] { insert(std::string(50, '\0') + "\n"); }},
      {"there twice", [&] { WriteFile(config_.out / "manifest.jsonl", manifest + manifest); }},
      {"`id`", edit("\"id\":", "\"name\":")},
      {"steps", edit("\"steps\":2", "\"steps\":\"2\"")},
      {"steps", change([](ViewRow& row) { row.steps = 7; })},
      {"guidance", change([](ViewRow& row) { row.guidance = 1.5; })},
      {"seed", change([](ViewRow& row) { row.seed += 1; })},
      {"noise level", change([](ViewRow& row) { row.noise_level += 1; })},
      {"prompt", change([](ViewRow& row) { row.prompt = "a cat"; })},
      {"negative prompt", change([](ViewRow& row) { row.negative_prompt = "a hat"; })},
      {"the row says 17 x 16", change([](ViewRow& row) { row.width += 1; })},
      {"another generator", change([](ViewRow& row) { row.generator = "0123"; })},
      {"another generator", change([](ViewRow& row) { row.scheduler = "DDIMScheduler"; })},
      {"view 3 of 1", change([](ViewRow& row) { row.index = 3; })},
      {"below 0", change([](ViewRow& row) { row.index = -1; })},
      {"seed", change([](ViewRow& row) { row.id = "disc/other.png"; })},
      {"no picture", change([&](ViewRow& row) {
         row.id = "disc/other.png";
         row.seed = ViewSeed(config_.run.seed, row.id, 0);
       })},
      {"contents", change([](ViewRow& row) { row.hash[0] = row.hash[0] == '0' ? '1' : '0'; })},
      {"bytes", change([](ViewRow& row) { row.bytes += 1; })},
      {"not a path inside", change([](ViewRow& row) { row.file = "../x.png"; })},
      {"not a path inside", change([](ViewRow& row) { row.file = "/x.png"; })},
      {"should be", change([&](ViewRow& row) {
         fs::rename(config_.out / row.file, config_.out / "x.png");
         row.file = "x.png";
       })},
      {"should be", change([](ViewRow& row) { row.file = "request.json"; })},
      {"should be", change([&](ViewRow& row) {
         row.file = rows[3].file;
         row.hash = rows[3].hash;
         row.bytes = rows[3].bytes;
       })},
      {"a file of its own", change([](ViewRow& row) { row.shard = "views-0000.tar"; })},
      {"settings.json", [&] { fs::remove(config_.out / "settings.json"); }},
      {"settings.json", [&] { WriteFile(config_.out / "settings.json", "{"); }},
      {"settings.json", [&] { WriteFile(config_.out / "settings.json", "{\"size\": 7}"); }},
      {"lost.jsonl", [&] { WriteFile(config_.out / "lost.jsonl", "lost\n"); }},
  });
}

TEST_F(Verify, DamagedShardsAreNamedAndMended) {
  config_.per_shard = 2;
  GenerateViews(config_, quiet_);
  const auto rows = Rows();
  const std::string manifest = ReadFile(config_.out / "manifest.jsonl");
  const Path first = config_.out / "views-0000.tar", second = config_.out / "views-0001.tar";
  const auto flip = [&](uint64_t at) {
    return [&, at] {
      std::string bytes = ReadFile(first);
      bytes[at] ^= 1;
      WriteFile(first, bytes);
    };
  };
  const auto change = [&](auto one) {
    return [&, one] {
      auto changed = rows;
      one(changed[1]);
      WriteRows(changed);
    };
  };
  ASSERT_NE(rows[0].bytes % 512, 0u);
  ExpectMended({
      {"shard is not there", [&] { fs::remove(first); }},
      {"shard is not there", [&] { fs::remove(first), fs::create_directory(first); }},
      {"cut off", [&] { WriteFile(first, ""); }},
      {"cut off", [&] { WriteFile(first, ReadFile(first).substr(0, rows[1].offset + 10)); }},
      {"something else", [&] { WriteFile(first, ReadFile(first).substr(0, fs::file_size(first) - 700)); }},
      {"something else", [&] { WriteFile(first, ReadFile(first) + "x"); }},
      {"as it was written", flip(3)},
      {"as it was written", flip(150)},
      {"as it was written", flip(rows[0].offset + rows[0].bytes)},
      {"contents", flip(rows[0].offset + 40)},
      {"contents", [&] { WriteFile(first, std::string(fs::file_size(first), '\0')); }},
      {"contents",
       [&] { fs::rename(first, folder_ / "x"), fs::rename(second, first), fs::rename(folder_ / "x", second); }},
      {"without a row", [&] { fs::copy_file(first, config_.out / "views-0009.tar"); }},
      {"picture without a row",
       [&] {
         fs::create_directories((config_.out / rows[0].file).parent_path());
         WriteFile(config_.out / rows[0].file, "x");
       }},
      {"something else", [&] { WriteRows({rows.begin(), rows.end() - 1}); }},
      {"as it was written", [&] { WriteRows({rows.begin() + 1, rows.end()}); }},
      {"without a row", [&] { fs::remove(config_.out / "manifest.jsonl"); }},
      {"there twice", [&] { WriteFile(config_.out / "manifest.jsonl", manifest + manifest); }},
      {"contents", change([](ViewRow& row) { row.offset += 1; })},
      {"cut off", change([](ViewRow& row) { row.offset = UINT64_MAX - 10; })},
      {"contents", change([](ViewRow& row) { row.bytes -= 1; })},
      {"contents", change([](ViewRow& row) { row.hash[5] = row.hash[5] == '0' ? '1' : '0'; })},
      {"should be in", change([](ViewRow& row) { row.shard = "views-0001.tar"; })},
      {"not a path inside", change([](ViewRow& row) { row.shard = "../views-0000.tar"; })},
      {"not there", change([](ViewRow& row) { row.shard.clear(); })},
      {"line 1", [&] { WriteFile(config_.out / "manifest.jsonl", manifest.substr(20)); }},
      {"no shard yet",
       [&] {
         auto changed = rows;
         for (size_t i : {size_t{2}, size_t{3}}) {
           const std::string bytes = *ReadViewBytes(config_.out, rows[i]);
           WriteFile(config_.out / rows[i].file, bytes);
           changed[i].shard.clear();
         }
         fs::remove(second);
         WriteRows(changed);
       }},
  });
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

TEST_F(Verify, PicturesThatViewsAreMadeOfStay) {
  config_.images = (folder_ / "photos").string();
  for (const char* name : {"a.jpg", "b.jpg"})
    WriteFile(folder_ / "photos" / name, ReadFile(config_.generator / "picture0.png") + name);
  GenerateViews(config_, quiet_);
  fs::rename(folder_ / "photos", config_.out / "photos");
  Json request = ReadJson(config_.out / "request.json");
  request["images"] = "photos";
  WriteJson(config_.out / "request.json", request);
  const auto whole = Files();
  EXPECT_EQ(VerifyViews({.folder = config_.out, .repair = false}, quiet_).problems, std::vector<std::string>());
  fs::remove(config_.out / "a.png");
  EXPECT_EQ(VerifyViews({.folder = config_.out, .repair = true}, quiet_).made, 1);
  EXPECT_EQ(Files(), whole);
  auto rows = Rows();
  rows[0].file = "photos/a.jpg";
  WriteRows(rows);
  VerifyViews({.folder = config_.out, .repair = true}, quiet_);
  EXPECT_EQ(Files(), whole);

  fs::rename(config_.out / "photos", folder_ / "photos");
  fs::remove(config_.out / "a.png");
  const auto left = Files();
  EXPECT_THROW(VerifyViews({.folder = config_.out, .repair = true}, quiet_), Error);
  EXPECT_EQ(Files(), left);
}

TEST_F(Verify, AFolderThatIsBeingWorkedOnIsLeftAlone) {
  GenerateViews(config_, quiet_);
  const auto rows = Rows();
  WriteRows({rows.begin(), rows.end() - 1});  // the last picture is there, its row is yet to come
  const auto before = Files();
  {
    const FolderLock job(config_.out);
    EXPECT_EQ(VerifyViews({.folder = config_.out, .repair = false}, quiet_).problems.size(), 1u);
    EXPECT_THROW(VerifyViews({.folder = config_.out, .repair = true}, quiet_), Error);
    EXPECT_EQ(Files(), before);
  }
  EXPECT_EQ(VerifyViews({.folder = config_.out, .repair = true}, quiet_).made, 1);
  EXPECT_THROW(VerifyViews({.folder = folder_ / "none", .repair = true}, quiet_), Error);
  EXPECT_FALSE(fs::exists(folder_ / "none"));
}

TEST_F(Verify, ADamagedRequestIsAnError) {
  for (const char* text : {"[]", "7", "{\"steps\": \"two\"}", "{"}) {
    WriteFile(config_.out / "request.json", text);
    EXPECT_THROW(ReadViewsRequest(config_.out), Error) << text;
  }
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

TEST_F(Verify, TheRequestFindsPicturesFromAnywhere) {
  const Path moved = folder_.string() + "-moved";
  struct Name {
    std::string images, request, found;
  };
  const std::string here = folder_.string(), there = moved.string();
  for (const auto& [images, request, found] :
       std::vector<Name>{{here + "/photos", "../photos", there + "/photos"},
                         {here + "/photos/x-{0..3}.tar", "../photos/x-{0..3}.tar", there + "/photos/x-{0..3}.tar"},
                         {"subset:count=2,of=" + here + "/photos", "subset:count=2,of=../photos",
                          "subset:count=2,of=" + there + "/photos"},
                         {"shapes:count=2", "shapes:count=2", "shapes:count=2"},
                         {"subset:count=1,of=shapes:count=2", "subset:count=1,of=shapes:count=2",
                          "subset:count=1,of=shapes:count=2"}}) {
    config_.images = images;
    EXPECT_EQ(ViewsRequest(config_)["images"], request);
    WriteJson(config_.out / "request.json", ViewsRequest(config_));
    fs::create_directories(folder_ / "photos");
    fs::rename(folder_, moved);
    EXPECT_EQ(ReadViewsRequest(moved / "views")->images, found);
    fs::rename(moved, folder_);
  }
  Json request = ViewsRequest(config_);  // before version 3 the name was that of the command line
  request["version"] = 2;
  request["images"] = "../photos";
  WriteJson(config_.out / "request.json", request);
  EXPECT_EQ(ReadViewsRequest(config_.out)->images, "../photos");
}

// In requests of the first version the usual levels stood for none.
TEST_F(Verify, UsualLevelsOfAnEarlierRequestAreNone) {
  Json request = ViewsRequest(config_);
  EXPECT_EQ(request["levels"], Json::array());
  const auto levels_of = [&] {
    WriteJson(config_.out / "request.json", request);
    return ReadViewsRequest(config_.out)->levels;
  };
  request["levels"] = kUsualLevels;
  EXPECT_EQ(levels_of(), kUsualLevels);
  request.erase("version");
  EXPECT_TRUE(levels_of().empty());
  request["levels"] = {0, 50};
  EXPECT_EQ(levels_of(), (std::vector<int64_t>{0, 50}));
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
  EXPECT_NE(text.find("energy: "), std::string::npos) << text;
  ViewsPlan hour;
  hour.watts = 250;
  hour.batches = {{.batch = 2, .seconds = 7200, .chosen = true}};
  EXPECT_NE(PlanToText(config_, hour).find("energy: 500 Wh at 250 W (processors"), std::string::npos);
  // With numbers from a file, in the job's precision.
  config_.steps = 2;
  config_.noise = folder_ / "noise.safetensors";
  config_.run.precision = Precision::kAuto;
  WriteSafetensors(config_.noise, {{"latents", at::zeros({6, 4, 8, 8})}, {"embedding_noise", at::zeros({6, 6})}});
  EXPECT_EQ(PlanViews(config_, {.seconds = 0.01}, quiet_).precision, "fp32");
  config_.noise.clear();
  config_.run.precision = Precision::kFp32;
  // Too little time for a single whole batch: reckoned.
  config_.steps = 900;
  const ViewsPlan hasty = PlanViews(config_, {.seconds = 0.01, .watts = 100}, quiet_);
  EXPECT_TRUE(hasty.watts_given);
  EXPECT_EQ(hasty.watts, 100);
  for (const PlannedBatch& batch : hasty.batches) EXPECT_FALSE(batch.whole);
}

}  // namespace
}  // namespace genview
