#include <ATen/Parallel.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>

#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/generated_views.h"
#include "genview/data/shapes.h"
#include "genview/tensor/safetensors.h"
#include "genview/views/bench_views.h"
#include "genview/views/generate.h"
#include "genview/views/likeness.h"
#include "genview/views/noise_levels.h"
#include "genview/views/plan.h"
#include "genview/views/request.h"
#include "genview/views/verify.h"
#include "genview/views/view_folder.h"
#include "genview/views/view_noise.h"
#include "tests/source_dir.h"

namespace genview {
namespace {

namespace fs = std::filesystem;

const Path kGolden = SourceDir() / "tests/golden/diffusion";

class Views : public testing::Test {
 protected:
  // Operations this small are slower on several threads, on a busy machine by far.
  static void SetUpTestSuite() { at::set_num_threads(1); }
  void SetUp() override {
    folder_ = Path(testing::TempDir()) /
              (std::string("genview-views-") + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  ViewsConfig Config(const char* out = "out") const {
    ViewsConfig c;
    c.images = "shapes:count=5,size=24,seed=1";
    c.generator = kGolden / "pipeline_pndm";
    c.out = folder_ / out;
    c.policy = NoisePolicy::kRandom;
    c.steps = 2;
    c.guidance = 3;
    c.run.batch = 2;
    c.run.device = DeviceChoice::kCpu;
    c.run.precision = Precision::kFp32;
    return c;
  }

  // Every file below a folder with its bytes.
  static std::map<std::string, std::string> Files(const Path& folder) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (entry.is_regular_file()) files[entry.path().lexically_relative(folder).string()] = ReadFile(entry.path());
    }
    return files;
  }

  // A copy of a generator, to be changed.
  Path GeneratorToChange() const {
    const Path copy = folder_ / "generator";
    fs::copy(kGolden / "pipeline_pndm", copy, fs::copy_options::recursive);
    return copy;
  }
  static void ChangeWeights(const Path& network, const std::function<void(const std::string&, const Tensor&)>& change) {
    const Path file = network / "diffusion_pytorch_model.safetensors";
    const WeightMap weights = ReadSafetensors(file);
    std::vector<std::pair<std::string, Tensor>> tensors;
    for (const auto& [name, tensor] : weights.tensors()) {
      tensors.emplace_back(name, tensor.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true));
      change(name, tensors.back().second);
    }
    WriteSafetensors(file, tensors);
  }

  Progress quiet_;
  Path folder_;
};

struct StopsAfter : Progress {
  explicit StopsAfter(int updates) : left(updates) {}
  void Update(int64_t, double, std::string_view) override { --left; }
  bool Stopped() const override { return left <= 0; }
  int left;
};

TEST_F(Views, EveryPictureGetsAViewAndARow) {
  const ViewsSummary done = GenerateViews(Config(), quiet_);
  EXPECT_EQ(done.asked, 5);
  EXPECT_EQ(done.written, 5);
  const auto rows = ReadViewTable(folder_ / "out/manifest.jsonl");
  const auto source = OpenSource(Config().images);
  ASSERT_EQ(rows.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(rows[i].id, source->item(static_cast<int64_t>(i)).id);
    EXPECT_EQ(rows[i].steps, 2);
    EXPECT_EQ(rows[i].scheduler, "PNDMScheduler");
    EXPECT_EQ(rows[i].noise_level % 100, 0);
    const auto image = DecodeImage(ReadFile(folder_ / "out" / rows[i].file));
    ASSERT_TRUE(image);
    EXPECT_EQ(image->width, 16);
    EXPECT_EQ(std::pair(rows[i].width, rows[i].height), std::pair(image->width, image->height));
  }
  EXPECT_EQ(ReadFile(folder_ / "out/skipped.tsv"), "id\treason\n");
}

TEST_F(Views, ASecondRunMakesNothingAndChangesNoByte) {
  GenerateViews(Config(), quiet_);
  const auto before = Files(folder_ / "out");
  const ViewsSummary again = GenerateViews(Config(), quiet_);
  EXPECT_EQ(again.made, 0);
  EXPECT_EQ(again.written, 5);
  EXPECT_EQ(Files(folder_ / "out"), before);
}

// Rows that say neither how large their picture is nor what guidance led away from.
TEST_F(Views, AFolderOfAnOlderVersionStaysAsItIs) {
  ViewsConfig c = Config();
  c.generator = kGolden / "pipeline_text";
  c.negative_prompt = "the hat";
  GenerateViews(c, quiet_);
  const std::string whole = ReadFile(c.out / "manifest.jsonl");
  auto rows = ReadViewTable(c.out / "manifest.jsonl");
  std::string older;
  for (ViewRow& row : rows) {
    row.width = row.height = 0;
    row.negative_prompt.clear();
    older += ViewRowToJson(row).dump() + "\n";
  }
  ASSERT_NE(older, whole);
  WriteFile(c.out / "manifest.jsonl", older);
  EXPECT_EQ(GenerateViews(c, quiet_).made, 0);
  EXPECT_EQ(ReadFile(c.out / "manifest.jsonl"), older);
  for (const ViewRow& row : rows) fs::remove(c.out / row.file);
  EXPECT_EQ(GenerateViews(c, quiet_).made, 5);
  EXPECT_EQ(ReadFile(c.out / "manifest.jsonl"), whole);
}

TEST_F(Views, AChangedPictureGetsAnotherView) {
  const auto drawn = OpenSource("shapes:count=5,size=24,seed=2");
  for (const int64_t per_shard : {0, 2}) {
    for (int64_t i = 0; i < 4; ++i) WriteFile(folder_ / Format("photos/{}.png", i), *drawn->ReadBytes(i));
    ViewsConfig config = Config(Format("changed{}", per_shard).c_str());
    config.images = (folder_ / "photos").string();
    config.per_shard = per_shard;
    GenerateViews(config, quiet_);
    WriteFile(folder_ / "photos/0.png", *drawn->ReadBytes(0));  // written again, the same
    WriteFile(folder_ / "photos/1.png", *drawn->ReadBytes(4));
    const auto problems = VerifyViews({.folder = config.out, .repair = false}, quiet_).problems;
    ASSERT_EQ(problems.size(), 1u);
    EXPECT_NE(problems[0].find("1.png is another picture"), std::string::npos) << problems[0];
    EXPECT_EQ(GenerateViews(config, quiet_).made, 1);
    EXPECT_EQ(GenerateViews(config, quiet_).made, 0);
    ViewsConfig anew = config;
    anew.out = folder_ / Format("anew{}", per_shard);
    GenerateViews(anew, quiet_);
    EXPECT_EQ(Files(config.out), Files(anew.out));
  }
}

TEST_F(Views, StoppedAnywhereTheSameCommandEndsWithTheSameBytes) {
  GenerateViews(Config("whole"), quiet_);
  const auto whole = Files(folder_ / "whole");
  for (int updates = 1; updates < 3; ++updates) {
    const std::string name = "stopped" + std::to_string(updates);
    StopsAfter stops(updates);
    EXPECT_THROW(GenerateViews(Config(name.c_str()), stops), Interrupted);
    // What had been made is written.
    EXPECT_EQ(ReadViewTable(folder_ / name / "manifest.jsonl").size(), static_cast<size_t>(2 * updates));
    EXPECT_EQ(GenerateViews(Config(name.c_str()), quiet_).written, 5);
    EXPECT_EQ(Files(folder_ / name), whole);
  }
}

// In the first batch, in one between, and in the last, which no other follows.
TEST_F(Views, APictureThatCannotBeWrittenEndsTheRunWithItsError) {
  GenerateViews(Config("whole"), quiet_);
  const auto whole = Files(folder_ / "whole");
  const auto rows = ReadViewTable(folder_ / "whole/manifest.jsonl");
  for (const size_t view : {size_t{0}, size_t{2}, size_t{4}}) {
    const ViewsConfig c = Config(Format("failed{}", view).c_str());
    const Path in_the_way = c.out / rows[view].file;
    fs::create_directories(in_the_way);
    try {
      GenerateViews(c, quiet_);
      ADD_FAILURE() << "a folder stood in the way of " << rows[view].file;
    } catch (const Error& error) {
      EXPECT_EQ(error.text().where, in_the_way.string());
    }
    EXPECT_EQ(ReadViewTable(c.out / "manifest.jsonl").size(), view);  // of the batches before
    fs::remove(in_the_way);
    EXPECT_EQ(GenerateViews(c, quiet_).written, 5);
    EXPECT_EQ(Files(c.out), whole);
  }
}

// What a kill can leave: a row torn in the middle, a picture without its row, a row whose picture is gone, part files.
TEST_F(Views, ADamagedFolderIsMendedToTheSameBytes) {
  GenerateViews(Config(), quiet_);
  const auto whole = Files(folder_ / "out");
  const std::string manifest = whole.at("manifest.jsonl");
  const auto rows = ReadViewTable(folder_ / "out/manifest.jsonl");
  for (const size_t length : {size_t{0}, manifest.size() / 3, manifest.size() - 5}) {
    WriteFile(folder_ / "out/manifest.jsonl", manifest.substr(0, length));
    fs::remove(folder_ / "out" / rows[0].file);
    WriteFile((folder_ / "out" / rows[1].file).parent_path() / ".picture.png.99.part", "half");
    GenerateViews(Config(), quiet_);
    EXPECT_EQ(Files(folder_ / "out"), whole) << length;
  }
}

TEST_F(Views, PicturesOfSomebodyAreNotOverwritten) {
  WriteFile(folder_ / "out/arrow/000000.png", "a photograph");
  const std::string file = ViewFileNames(*OpenSource(Config().images), 1)[0];
  WriteFile(folder_ / "out" / file, "a photograph");
  EXPECT_THROW(GenerateViews(Config(), quiet_), UsageError);
  EXPECT_EQ(ReadFile(folder_ / "out" / file), "a photograph");
}

TEST_F(Views, DoNotLieAmongThePicturesTheyAreMadeOf) {
  ViewsConfig c = Config();
  c.images = (folder_ / "photos").string();
  WriteFile(folder_ / "photos/a.jpg", ReadFile(kGolden / "pipeline_pndm/picture0.png"));
  const auto before = Files(folder_);
  for (const Path& out : {folder_ / "photos", folder_ / "photos/views", folder_}) {
    c.out = out;
    EXPECT_THROW(GenerateViews(c, quiet_), UsageError) << out;
    EXPECT_EQ(Files(folder_), before) << out;
  }
  c.images = Format("subset:count=1,of={}", (folder_ / "photos/").string());
  c.out = folder_ / "photos/views";
  EXPECT_THROW(GenerateViews(c, quiet_), UsageError);
  c.out = folder_ / "photos-views";
  EXPECT_EQ(GenerateViews(c, quiet_).written, 1);
}

TEST_F(Views, AreForgottenOnlyWhenThatIsAskedFor) {
  ViewsConfig c = Config();
  c.per_image = 2;
  GenerateViews(c, quiet_);
  const auto both = Files(folder_ / "out");
  c.per_image = 1;
  EXPECT_THROW(GenerateViews(c, quiet_), UsageError);
  EXPECT_EQ(Files(folder_ / "out"), both);
  c.forget = true;
  EXPECT_EQ(GenerateViews(c, quiet_).made, 0);
  EXPECT_EQ(ReadViewTable(folder_ / "out/manifest.jsonl").size(), 5u);
  for (const auto& [name, bytes] : Files(folder_ / "out")) EXPECT_FALSE(name.ends_with("_1.png")) << name;
}

TEST_F(Views, OtherSettingsAreMadeAnew) {
  ViewsConfig c = Config();
  GenerateViews(c, quiet_);
  c.steps = 3;
  EXPECT_EQ(GenerateViews(c, quiet_).made, 5);
  c.run.seed = 7;
  EXPECT_EQ(GenerateViews(c, quiet_).made, 5);
  c.size = 20;
  EXPECT_EQ(GenerateViews(c, quiet_).made, 5);
  const auto rows = ReadViewTable(folder_ / "out/manifest.jsonl");
  EXPECT_EQ(DecodeImage(ReadFile(folder_ / "out" / rows[0].file))->width, 20);
  c.scheduler = "DDIM";
  EXPECT_EQ(GenerateViews(c, quiet_).made, 5);
  EXPECT_EQ(ReadViewTable(folder_ / "out/manifest.jsonl")[0].scheduler, "DDIMScheduler");
}

TEST_F(Views, ThreadsDoNotMatterAndTheBatchOnlyToRounding) {
  ViewsConfig a = Config("a"), b = Config("b"), c = Config("c");
  a.run.threads = 1;
  b.run.threads = 4;
  c.run.batch = 5;
  for (const ViewsConfig& each : {a, b, c}) GenerateViews(each, quiet_);
  EXPECT_EQ(Files(a.out), Files(b.out));
  for (const ViewRow& row : ReadViewTable(a.out / "manifest.jsonl")) {
    const auto one = DecodeImage(ReadFile(a.out / row.file)), other = DecodeImage(ReadFile(c.out / row.file));
    for (size_t i = 0; i < one->pixels.size(); ++i) ASSERT_NEAR(one->pixels[i], other->pixels[i], 1) << row.file;
  }
}

// The processor's memory, of which no tensor gets more than `limit` bytes.
class LimitedAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    TORCH_CHECK_WITH(OutOfMemoryError, bytes <= limit, "CUDA out of memory. Tried to allocate ", bytes, " bytes.");
    for (size_t known = largest; known < bytes && !largest.compare_exchange_weak(known, bytes);) continue;
    return inner_->allocate(bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return inner_->raw_deleter(); }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
  void Install() { c10::SetCPUAllocator(this); }
  void Remove() { c10::SetCPUAllocator(inner_); }

  std::atomic<size_t> limit = SIZE_MAX, largest = 0;

 private:
  c10::Allocator* const inner_ = c10::GetCPUAllocator();
};

TEST_F(Views, WhatMemoryDoesNotDoForIsMadeInHalves) {
  static LimitedAllocator memory;  // tensors may outlive the test
  struct Warnings : Progress {
    void Warn(std::string_view message) override { texts.emplace_back(message); }
    std::vector<std::string> texts;
  } warnings;
  // Pictures so large, and so many, that nothing takes more than what is made of all views of a batch: neither weights
  // nor what a convolution lays out of one of them.
  const Path noise = folder_ / "noise.safetensors";
  WriteSafetensors(noise, {{"latents", NormalTensor(Seed(1), {20, 4, 32, 32})},
                           {"embedding_noise", NormalTensor(Seed(2), {20, 6})}});
  const auto make = [&](const char* name, int64_t batch) {
    ViewsConfig c = Config(name);
    c.images = "shapes:count=20,size=24,seed=1";
    c.noise = noise;
    c.run.batch = batch;
    memory.largest = 0;
    memory.Install();
    EXPECT_EQ(GenerateViews(c, warnings).written, 20) << name;
    memory.Remove();
    auto files = Files(c.out);
    files.erase("request.json");  // names the batch
    return files;
  };
  const auto eights = make("eights", 8);
  const size_t of_eight = memory.largest;
  make("sixteens", 16);
  ASSERT_GT(memory.largest.load(), of_eight);
  EXPECT_TRUE(warnings.texts.empty());
  memory.limit = memory.largest - 1;
  EXPECT_EQ(make("halves", 16), eights);
  memory.limit = SIZE_MAX;
  EXPECT_EQ(warnings.texts, std::vector<std::string>{"memory does not do for 16 views at once; 8 from here on"});
}

// Whatever is computed together, and in which order the pictures come: a view is the same to rounding, and with
// `deterministic` to the byte.
TEST_F(Views, BatchAndOrderOfThePicturesDoNotMatter) {
  std::vector<std::string> lines;
  for (int64_t i = 0; i < 17; ++i) {
    const Path file = folder_ / Format("images/{:02}.png", i);
    WriteFile(file, EncodePng(DrawShape({.count = 17, .size = 24, .seed = 5}, i).image));
    lines.push_back(file.string() + "\n");
  }
  std::map<std::string, std::vector<uint8_t>> expected, expected_bytes;
  const auto check = [&](int64_t batch, const char* order, bool deterministic = false) {
    std::string text;
    for (const std::string& line : lines) text += line;
    WriteFile(folder_ / "list.txt", text);
    ViewsConfig c = Config(Format("{}-{}{}", order, batch, deterministic ? "-deterministic" : "").c_str());
    c.images = (folder_ / "list.txt").string();
    c.run.batch = batch;
    c.deterministic = deterministic;
    EXPECT_EQ(GenerateViews(c, quiet_).written, 17);
    for (const ViewRow& row : ReadViewTable(c.out / "manifest.jsonl")) {
      const auto image = DecodeImage(ReadFile(c.out / row.file));
      const auto [there, is_new] =
          (deterministic ? expected_bytes : expected).try_emplace(Path(row.id).filename().string(), image->pixels);
      if (deterministic) {
        EXPECT_EQ(image->pixels, there->second) << row.id << ", batch " << batch << ", " << order;
      }
      for (size_t i = 0; !is_new && i < image->pixels.size(); ++i) {
        ASSERT_NEAR(image->pixels[i], there->second[i], 1) << row.id << ", batch " << batch << ", " << order;
      }
    }
  };
  for (const int64_t batch : {1, 3, 16}) check(batch, "forwards");
  for (const int64_t batch : {1, 3, 16}) check(batch, "forwards", true);
  std::reverse(lines.begin(), lines.end());
  for (const int64_t batch : {1, 3, 16}) check(batch, "backwards");
  std::rotate(lines.begin(), lines.begin() + 5, lines.end());
  std::swap(lines[2], lines[11]);
  check(3, "mixed");
  for (const int64_t batch : {5, 16}) check(batch, "mixed", true);
  EXPECT_EQ(expected.size(), 17u);
  EXPECT_EQ(expected_bytes.size(), 17u);
}

TEST_F(Views, ShardsHoldTheSamePictures) {
  const auto config = [&](const std::string& name) {
    ViewsConfig c = Config(name.c_str());
    c.deterministic = true;  // bytes are compared between batches of 2 and 3
    return c;
  };
  GenerateViews(config("files"), quiet_);
  const auto files = GeneratedViews::Open(folder_ / "files");
  for (const int64_t batch : {2, 3}) {  // 3: more than a shard holds
    ViewsConfig c = config(Format("shards{}", batch));
    c.per_shard = 2;
    c.run.batch = batch;
    EXPECT_EQ(GenerateViews(c, quiet_).written, 5);
    const auto shards = GeneratedViews::Open(c.out);
    ASSERT_EQ(shards->rows().size(), 5u);
    for (const ViewRow& row : shards->rows()) {
      EXPECT_EQ(*shards->ReadBytes(row.id, 0), *files->ReadBytes(row.id, 0)) << row.id;
      EXPECT_TRUE(shards->Read(row.id, 0));
    }
    // As any reader of such shards sees them; nothing else lies there.
    const auto tars = OpenSource((c.out / "views-{0000..0002}.tar").string());
    EXPECT_EQ(tars->size(), 5);
    EXPECT_EQ(*tars->ReadBytes(4), *files->ReadBytes(OpenSource(c.images)->item(4).id, 0));
    std::vector<std::string> names;
    for (const auto& [name, bytes] : Files(c.out)) names.push_back(name);
    EXPECT_EQ(names, (std::vector<std::string>{"manifest.jsonl", "request.json", "settings.json", "skipped.tsv",
                                               "views-0000.tar", "views-0001.tar", "views-0002.tar"}));
    for (const auto& entry : fs::directory_iterator(c.out)) EXPECT_FALSE(entry.is_directory()) << entry.path();
    const auto before = Files(c.out);
    EXPECT_EQ(GenerateViews(c, quiet_).made, 0);
    EXPECT_EQ(Files(c.out), before);
  }
}

TEST_F(Views, ShardsOfAStoppedRunEndWithTheSameBytes) {
  const auto config = [&](const char* name) {
    ViewsConfig c = Config(name);
    c.images = "shapes:count=11,size=24,seed=1";
    c.per_shard = 4;
    return c;
  };
  GenerateViews(config("whole"), quiet_);
  const auto whole = Files(folder_ / "whole");
  const auto rows = ReadViewTable(folder_ / "whole/manifest.jsonl");
  for (int updates = 1; updates < 6; ++updates) {
    const std::string name = "stopped" + std::to_string(updates);
    StopsAfter stops(updates);
    EXPECT_THROW(GenerateViews(config(name.c_str()), stops), Interrupted);
    GenerateViews(config(name.c_str()), quiet_);
    EXPECT_EQ(Files(folder_ / name), whole) << updates;
  }
  // What a kill leaves while a shard is packed: before its rows are written, among them, and before all files have
  // gone.
  const ViewsConfig c = config("whole");
  for (size_t packed = 4; packed <= 8; ++packed) {
    std::string text;
    for (size_t i = 0; i < 8; ++i) {
      ViewRow loose = rows[i];
      if (i >= 4) {
        if (i >= packed || packed < 8) WriteFile(c.out / loose.file, *ReadViewBytes(c.out, rows[i]));
        loose.shard.clear();
        loose.offset = 0;
      }
      text += ViewRowToJson(loose).dump() + "\n";
    }
    for (size_t i = 4; i < packed; ++i) text += ViewRowToJson(rows[i]).dump() + "\n";
    WriteFile(c.out / "manifest.jsonl", text);
    fs::remove(c.out / "views-0002.tar");
    if (packed == 8) WriteFile(c.out / rows[6].file, *ReadViewBytes(c.out, rows[6]));  // not removed yet
    const ViewsSummary done = GenerateViews(c, quiet_);
    EXPECT_EQ(done.made, 3) << packed;
    EXPECT_EQ(Files(c.out), whole) << packed;
  }
  // A shard was packed anew with one view more, and the rows' places are those of before.
  auto changed = rows;
  changed[1].offset = changed[0].offset;
  changed[2].offset += 512;
  std::string text;
  for (const ViewRow& row : changed) text += ViewRowToJson(row).dump() + "\n";
  WriteFile(c.out / "manifest.jsonl", text);
  EXPECT_EQ(GenerateViews(c, quiet_).made, 0);
  EXPECT_EQ(Files(c.out), whole);
  // Views that are gone are made again into their shard; a shard that cannot be read is made again whole.
  text.clear();
  for (size_t i = 0; i < rows.size(); ++i) text += i == 5 ? "" : ViewRowToJson(rows[i]).dump() + "\n";
  WriteFile(c.out / "manifest.jsonl", text);
  WriteFile(c.out / "views-0000.tar", ReadFile(c.out / "views-0000.tar").substr(0, 700));
  EXPECT_EQ(GenerateViews(c, quiet_).made, 5);
  EXPECT_EQ(Files(c.out), whole);
}

TEST_F(Views, PicturesWithoutViewsLeaveNoPlaceInTheirShard) {
  ViewsConfig c = Config();
  c.images = (folder_ / "images").string();
  const std::string picture = ReadFile(kGolden / "pipeline_pndm/picture0.png");
  for (const char* name : {"a.png", "b.png"}) WriteFile(folder_ / "images" / name, "no picture");
  for (const char* name : {"c.png", "d.png"}) WriteFile(folder_ / "images" / name, picture);
  c.per_shard = 1;
  EXPECT_EQ(GenerateViews(c, quiet_).written, 2);
  EXPECT_FALSE(fs::exists(c.out / "views-0001.tar"));
  EXPECT_TRUE(fs::exists(c.out / "views-0002.tar"));
  // One can be read later: its shard comes, the others stay.
  const auto before = Files(c.out);
  WriteFile(folder_ / "images/a.png", ReadFile(kGolden / "pipeline_pndm/picture1.png"));
  EXPECT_EQ(GenerateViews(c, quiet_).written, 3);
  EXPECT_TRUE(fs::exists(c.out / "views-0000.tar"));
  EXPECT_EQ(Files(c.out).at("views-0002.tar"), before.at("views-0002.tar"));
  c.per_shard = 3;  // other shards are other files: all are made anew
  EXPECT_EQ(GenerateViews(c, quiet_).made, 3);
  EXPECT_FALSE(fs::exists(c.out / "views-0002.tar"));
}

TEST_F(Views, ANetworkAtATimeAndTilesAreChoices) {
  ViewsConfig c = Config("all");
  GenerateViews(c, quiet_);
  const auto all = Files(c.out);
  c.out = folder_ / "one";
  c.keep = Residency::kOne;
  c.decode = DecodeChoice::kTiles;  // one tile is the whole picture
  GenerateViews(c, quiet_);
  auto one = Files(c.out);
  one["request.json"] = all.at("request.json");
  EXPECT_EQ(one, all);
  // Larger than a tile. A folder that was begun in tiles goes on so, however much memory there is.
  c.noise = folder_ / "noise.safetensors";
  WriteSafetensors(
      c.noise, {{"latents", NormalTensor(Seed(1), {5, 4, 12, 8})}, {"embedding_noise", NormalTensor(Seed(2), {5, 6})}});
  GenerateViews(c, quiet_);
  const auto tiles = Files(c.out);
  EXPECT_EQ(ReadJson(c.out / "settings.json")["decode"], "tiles");
  c.decode = DecodeChoice::kAuto;
  EXPECT_EQ(GenerateViews(c, quiet_).made, 0);
  c.decode = DecodeChoice::kWhole;
  EXPECT_EQ(GenerateViews(c, quiet_).made, 5);
  const auto rows = ReadViewTable(c.out / "manifest.jsonl");
  EXPECT_NE(ReadFile(c.out / rows[0].file), tiles.at(rows[0].file));
}

TEST_F(Views, SeveralViewsOfAPictureDiffer) {
  ViewsConfig c = Config();
  c.per_image = 2;
  const ViewsSummary done = GenerateViews(c, quiet_);
  EXPECT_EQ(done.asked, 10);
  const auto rows = ReadViewTable(c.out / "manifest.jsonl");
  ASSERT_EQ(rows.size(), 10u);
  EXPECT_EQ(rows[0].id, rows[1].id);
  EXPECT_EQ(rows[1].index, 1);
  EXPECT_TRUE(rows[1].file.ends_with("_1.png"));
  EXPECT_NE(ReadFile(c.out / rows[0].file), ReadFile(c.out / rows[1].file));
  GenerateViews(Config("single"), quiet_);  // the first view is what it is alone, to rounding: another batch
  const auto one = DecodeImage(ReadFile(c.out / rows[0].file)),
             other = DecodeImage(ReadFile(folder_ / "single" / rows[0].file));
  for (size_t i = 0; i < one->pixels.size(); ++i) ASSERT_NEAR(one->pixels[i], other->pixels[i], 1);
}

// Pictures that cannot be read or are not in the table are named; the others are made.
TEST_F(Views, PicturesThatCannotBeUsedAreNamed) {
  ViewsConfig c = Config();
  c.images = (folder_ / "images").string();
  for (int i = 0; i < 3; ++i)
    fs::create_directories(folder_ / "images"),
        fs::copy(kGolden / "pipeline_pndm" / Format("picture{}.png", i), folder_ / "images");
  WriteFile(folder_ / "images/broken.png", "not a picture");
  c.policy = NoisePolicy::kAdaptive;
  c.ratios = folder_ / "ratios.tsv";
  WriteForegroundTable(c.ratios, {{"picture0.png", "picture0.png", 0.1, 0},
                                  {"picture2.png", "picture2.png", 0.9, 400},
                                  {"broken.png", "broken.png", 0.5, 200}});
  const ViewsSummary done = GenerateViews(c, quiet_);
  EXPECT_EQ(done.asked, 4);
  EXPECT_EQ(done.written, 2);
  EXPECT_EQ(done.skipped, 2);
  const std::string skipped = ReadFile(c.out / "skipped.tsv");
  EXPECT_NE(skipped.find("broken.png\t"), std::string::npos);
  EXPECT_NE(skipped.find("picture1.png\tnot in"), std::string::npos);
  EXPECT_EQ(ReadViewTable(c.out / "manifest.jsonl")[1].noise_level, 400);
  EXPECT_EQ(GenerateViews(c, quiet_).made, 0);
  c.run.strict = true;
  EXPECT_THROW(GenerateViews(c, quiet_), Error);
}

TEST_F(Views, APictureThatIsNotANumberIsNamedAndItsNeighboursAreMade) {
  ViewsConfig c = Config();
  Tensor latents = NormalTensor(Seed(1), {5, 4, 8, 8});
  latents[3].fill_(NAN);
  c.noise = folder_ / "noise.safetensors";
  WriteSafetensors(c.noise, {{"latents", latents}, {"embedding_noise", NormalTensor(Seed(2), {5, 6})}});
  const ViewsSummary done = GenerateViews(c, quiet_);
  EXPECT_EQ(done.written, 4);
  EXPECT_NE(ReadFile(c.out / "skipped.tsv").find("not a number"), std::string::npos);
  const std::string id = OpenSource(c.images)->item(3).id;
  EXPECT_EQ(done.lost, std::vector<std::string>{id + ": the view is not a number, in fp32 too"});
  // It would come out the same: nothing is computed again, and all files stay.
  const auto before = Files(c.out);
  struct CountsUpdates : Progress {
    void Update(int64_t, double, std::string_view) override { ++updates; }
    int updates = 0;
  } counts;
  const ViewsSummary again = GenerateViews(c, counts);
  EXPECT_EQ(counts.updates, 0);
  EXPECT_EQ(again.lost, done.lost);
  EXPECT_EQ(again.skipped, 1);
  EXPECT_EQ(Files(c.out), before);
  c.steps = 3;  // another view: tried
  GenerateViews(c, counts);
  EXPECT_EQ(counts.updates, 3);
}

// The UNet leaves the first latents at the zeros of the noise, and the autoencoder multiplies them by a number that is
// infinite in bf16: NaN there, pictures in fp32.
TEST_F(Views, WhatIsNotANumberInBf16IsMadeInFp32AndDumpedAsItIsWritten) {
  ViewsConfig c = Config("bf16");
  c.generator = GeneratorToChange();
  ChangeWeights(c.generator / "unet", [](const std::string& name, const Tensor& tensor) {
    if (name.starts_with("conv_out.")) tensor[0].zero_();
  });
  ChangeWeights(c.generator / "vae", [](const std::string& name, const Tensor& tensor) {
    if (name == "post_quant_conv.weight") tensor[0][0].fill_(3.4e38);
  });
  const Tensor latents = NormalTensor(Seed(1), {5, 4, 8, 8});
  latents.select(1, 0).zero_();
  c.noise = folder_ / "noise.safetensors";
  WriteSafetensors(c.noise, {{"latents", latents}, {"embedding_noise", NormalTensor(Seed(2), {5, 6})}});
  c.run.precision = Precision::kBf16;
  c.dump = folder_ / "bf16.safetensors";
  const ViewsSummary done = GenerateViews(c, quiet_);
  EXPECT_EQ(done.written, 5);
  EXPECT_EQ(done.retried, 5);
  EXPECT_TRUE(done.lost.empty());
  ViewsConfig exact = c;
  exact.out = folder_ / "fp32";
  exact.run.precision = Precision::kFp32;
  exact.dump = folder_ / "fp32.safetensors";
  EXPECT_EQ(GenerateViews(exact, quiet_).retried, 0);
  const WeightMap dump = ReadSafetensors(c.dump), wanted = ReadSafetensors(exact.dump);
  const auto rows = ReadViewTable(c.out / "manifest.jsonl");
  ASSERT_EQ(rows.size(), 5u);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].retried, 1);
    const std::string bytes = ReadFile(c.out / rows[i].file);
    EXPECT_EQ(bytes, ReadFile(exact.out / rows[i].file)) << rows[i].file;
    const Outcome<Image> written = DecodeImage(bytes);
    ASSERT_TRUE(written);
    const Tensor dumped = dump.At("image")[static_cast<int64_t>(i)].contiguous();
    ASSERT_EQ(dumped.numel(), std::ssize(written->pixels));
    EXPECT_EQ(std::memcmp(dumped.const_data_ptr(), written->pixels.data(), written->pixels.size()), 0) << i;
  }
  ASSERT_EQ(dump.tensors().size(), wanted.tensors().size());
  for (const auto& [name, tensor] : wanted.tensors()) EXPECT_TRUE(at::equal(dump.At(name), tensor)) << name;
}

// -0.9951 is nearest to black in 8 bits of mantissa, and one step above it in 24.
TEST_F(Views, WhatIsBlackIsMadeInFp32AndLostByNameWhereItStaysSo) {
  ViewsConfig c = Config();
  c.generator = GeneratorToChange();
  c.run.precision = Precision::kBf16;
  const auto paint = [&](double value) {
    ChangeWeights(c.generator / "vae", [&](const std::string& name, const Tensor& tensor) {
      if (name == "decoder.conv_out.weight") tensor.zero_();
      if (name == "decoder.conv_out.bias") tensor.fill_(value);
    });
  };
  paint(-0.9951);
  const ViewsSummary done = GenerateViews(c, quiet_);
  EXPECT_EQ(done.written, 5);
  EXPECT_EQ(done.retried, 5);
  for (const ViewRow& row : ReadViewTable(c.out / "manifest.jsonl")) {
    const Outcome<Image> written = DecodeImage(ReadFile(c.out / row.file));
    ASSERT_TRUE(written);
    EXPECT_EQ(written->pixels, std::vector<uint8_t>(written->pixels.size(), 1)) << row.file;
  }
  paint(-2);
  c.out = folder_ / "black";
  try {
    GenerateViews(c, quiet_);
    ADD_FAILURE() << "black views were taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.text().what, "none of 5 views could be made");
  }
  const auto lost = ReadViewTable(c.out / "lost.jsonl");
  ASSERT_EQ(lost.size(), 5u);
  const std::string skipped = ReadFile(c.out / "skipped.tsv");
  for (const ViewRow& row : lost) {
    EXPECT_EQ(row.fault, "all black");
    EXPECT_NE(skipped.find(row.id + "\tthe view is all black, in fp32 too\n"), std::string::npos) << skipped;
  }
}

TEST_F(Views, FormatsAreWrittenUnderTheirEndings) {
  ViewsConfig c = Config();
  GenerateViews(c, quiet_);
  const auto png = DecodeImage(ReadFile(c.out / ReadViewTable(c.out / "manifest.jsonl")[0].file));
  for (const auto& [format, ending] : {std::pair{ViewFormat::kJpeg, ".jpg"}, std::pair{ViewFormat::kWebp, ".webp"}}) {
    c.format = format;
    c.out = folder_ / ending;
    GenerateViews(c, quiet_);
    const ViewRow row = ReadViewTable(c.out / "manifest.jsonl")[0];
    EXPECT_TRUE(row.file.ends_with(ending));
    const std::string bytes = ReadFile(c.out / row.file);
    EXPECT_EQ(row.bytes, bytes.size());
    EXPECT_EQ(row.hash, Fingerprint(bytes));
    const auto image = DecodeImage(bytes);
    ASSERT_TRUE(image);
    double sum = 0;
    for (size_t i = 0; i < image->pixels.size(); ++i) sum += std::abs(image->pixels[i] - png->pixels[i]);
    EXPECT_LT(sum / static_cast<double>(image->pixels.size()), 40) << ending;  // noise of few pixels
  }
  c.quality = 30;
  EXPECT_EQ(GenerateViews(c, quiet_).made, 5);
}

TEST_F(Views, APromptIsMadeForEachClass) {
  ViewsConfig c = Config();
  c.generator = kGolden / "pipeline_text";
  c.prompt = "a {class}, {class}!";
  c.negative_prompt = "the hat";
  GenerateViews(c, quiet_);
  const auto source = OpenSource(c.images);
  const auto rows = ReadViewTable(c.out / "manifest.jsonl");
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::string& name = source->classes()[static_cast<size_t>(source->item(static_cast<int64_t>(i)).label)];
    EXPECT_EQ(rows[i].prompt, "a " + name + ", " + name + "!");
    EXPECT_EQ(rows[i].negative_prompt, "the hat");
  }
  // A row is what it is with its own prompt for all.
  ViewsConfig one = c;
  one.out = folder_ / "one";
  one.prompt = rows[2].prompt;
  GenerateViews(one, quiet_);
  EXPECT_EQ(ReadFile(one.out / rows[2].file), ReadFile(c.out / rows[2].file));
  EXPECT_NE(ReadFile(one.out / rows[1].file), ReadFile(c.out / rows[1].file));
  one.negative_prompt.clear();
  EXPECT_EQ(GenerateViews(one, quiet_).made, 5);
  EXPECT_NE(ReadFile(one.out / rows[2].file), ReadFile(c.out / rows[2].file));
  c.images = (kGolden / "pipeline_text").string();  // pictures without classes
  EXPECT_THROW(GenerateViews(c, quiet_), UsageError);
  c = Config();  // a generator without text
  c.prompt = "a cat";
  EXPECT_THROW(GenerateViews(c, quiet_), UsageError);
}

TEST_F(Views, ATableMaySayGuidanceAndPromptOfAPicture) {
  ViewsConfig c = Config();
  c.generator = kGolden / "pipeline_text";
  c.policy = NoisePolicy::kAdaptive;
  c.ratios = folder_ / "ratios.tsv";
  c.run.batch = 5;
  c.deterministic = true;
  std::string table = "id\tpath\tforeground_ratio\tnoise_level\tguidance\tprompt\n";
  const auto source = OpenSource(c.images);
  const std::vector<std::string> asked = {"1\t", "4\ta cat", "\ta {class}", "\t", "20\tthe hat"};
  for (size_t i = 0; i < 5; ++i)
    table += Format("{0}\t{0}\t0.5\t200\t{1}\n", source->item(static_cast<int64_t>(i)).id, asked[i]);
  WriteFile(c.ratios, table);
  GenerateViews(c, quiet_);
  EXPECT_TRUE(VerifyViews({.folder = c.out, .repair = false}, quiet_).problems.empty());
  const auto rows = ReadViewTable(c.out / "manifest.jsonl");
  ASSERT_EQ(rows.size(), 5u);
  EXPECT_EQ(rows[0].guidance, 1);
  EXPECT_EQ(rows[3].guidance, c.guidance);
  EXPECT_EQ(rows[4].prompt, "the hat");
  EXPECT_EQ(rows[2].prompt, "a " + source->classes()[static_cast<size_t>(source->item(2).label)]);
  for (const ViewRow& row : rows) {  // each is what it is where all have its options
    ViewsConfig one = c;
    one.policy = NoisePolicy::kConstant;
    one.ratios.clear();
    one.noise_level = 200;
    one.guidance = row.guidance;
    one.prompt = row.prompt;
    one.out = folder_ / "one" / row.file;
    GenerateViews(one, quiet_);
    EXPECT_EQ(ReadFile(one.out / row.file), ReadFile(c.out / row.file)) << row.file;
  }
}

TEST_F(Views, ATablesGuidanceAndPromptsGoBeforeTheOptionsUnderEveryPolicy) {
  ViewsConfig c = Config();
  c.ratios = folder_ / "ratios.tsv";
  c.guidance = 3;
  c.prompt = "a bird";
  WriteFile(c.ratios, "id\tpath\tforeground_ratio\tnoise_level\tguidance\tprompt\na.png\ta.png\t0.9\t900\t7\ta cat\n");
  const SourceItem named{"a.png", "a.png", -1}, other{"b.png", "b.png", -1};
  for (const NoisePolicy policy : {NoisePolicy::kConstant, NoisePolicy::kRandom}) {
    c.policy = policy;
    c.noise_level = policy == NoisePolicy::kConstant ? 200 : -1;
    const NoiseLevels levels = NoiseLevels::Open(c);
    EXPECT_EQ(levels.GuidanceFor(named), 7);
    EXPECT_EQ(levels.PromptFor(named, {}), "a cat");
    EXPECT_EQ(levels.GuidanceFor(other), 3);
    EXPECT_EQ(levels.PromptFor(other, {}), "a bird");
    // Levels are not the table's, and pictures that it does not name have one.
    EXPECT_LE(levels.highest(), 400);
    for (const SourceItem& item : {named, other}) {
      ASSERT_TRUE(levels.For(item, 0).has_value());
      EXPECT_LE(*levels.For(item, 0), 400);
    }
  }
  c.policy = NoisePolicy::kAdaptive;
  c.noise_level = -1;
  EXPECT_EQ(NoiseLevels::Open(c).highest(), 900);
  EXPECT_EQ(NoiseLevels::Open(c).For(other, 0), std::nullopt);
}

// The whole stage against diffusers: pictures, levels and noise from files, every tensor in between.
TEST_F(Views, DumpEqualsDiffusers) {
  for (const char* name : {"pipeline_pndm", "pipeline_ddim", "pipeline_text"}) {
    const WeightMap io = ReadSafetensors(kGolden / name / "io.safetensors");
    ViewsConfig c = Config(name);
    c.images = (folder_ / name / "images").string();
    c.generator = kGolden / name;
    c.run.precision = Precision::kAuto;  // numbers to compare are fp32
    c.policy = NoisePolicy::kAdaptive;
    c.ratios = folder_ / "levels.txt";
    WriteFile(c.ratios, "somewhere/picture0.png 0\nsomewhere/picture1.png 200\nsomewhere/picture2.png 400\n");
    for (int i = 0; i < 3; ++i)
      fs::create_directories(c.images), fs::copy(kGolden / name / Format("picture{}.png", i), c.images);
    c.noise = folder_ / "noise.safetensors";
    WriteSafetensors(c.noise, {{"latents", io.At("latents_in")}, {"embedding_noise", io.At("embedding_noise")}});
    c.dump = folder_ / "dump.safetensors";
    c.out = folder_ / name / "views";
    struct Case {
      const char* name;
      int64_t steps;
      double guidance;
      const char* scheduler;
    };
    for (const Case& one :
         {Case{"a", 20, 10, ""}, Case{"c", 6, 3, "DPMSolverMultistep"}, Case{"d", 5, 3, "EulerDiscrete"}}) {
      c.steps = one.steps;
      c.guidance = one.guidance;
      c.scheduler = one.scheduler;
      GenerateViews(c, quiet_);
      const WeightMap dump = ReadSafetensors(c.dump);
      EXPECT_EQ(dump.Metadata("ids"), R"(["picture0.png","picture1.png","picture2.png"])");
      for (const char* key :
           {"pixel_values", "image_embeds", "class_labels", "prompt_embeds", "unet_first", "latents", "image"}) {
        const std::string wanted_name = io.Has(key) ? key : Format("{}.{}", one.name, key);
        ASSERT_EQ(dump.Has(key), io.Has(wanted_name)) << key;
        if (!dump.Has(key)) continue;
        const Tensor got = dump.At(key).to(at::kDouble), wanted = io.At(wanted_name).to(at::kDouble);
        ASSERT_EQ(got.sizes(), wanted.sizes()) << key;
        const double limit = std::string_view(key) == "image" ? 1 : 1e-4 * wanted.abs().max().item<double>();
        EXPECT_LE((got - wanted).abs().max().item<double>(), limit) << name << " " << one.name << " " << key;
      }
    }
  }
}

TEST_F(Views, NoiseThatDoesNotFitIsRefused) {
  ViewsConfig c = Config();
  c.noise = folder_ / "noise.safetensors";
  WriteSafetensors(c.noise, {{"latents", at::zeros({4, 4, 8, 8})}, {"embedding_noise", at::zeros({5, 6})}});
  EXPECT_THROW(GenerateViews(c, quiet_), Error);
  WriteSafetensors(c.noise, {{"latents", at::zeros({5, 4, 8, 8})}, {"embedding_noise", at::zeros({5, 7})}});
  EXPECT_THROW(GenerateViews(c, quiet_), Error);
  WriteSafetensors(c.noise,
                   {{"latents", at::zeros({5, 4, 4, 6})}, {"embedding_noise", at::zeros({5, 6})}});  // another size
  EXPECT_EQ(GenerateViews(c, quiet_).written, 5);
  const auto rows = ReadViewTable(c.out / "manifest.jsonl");
  EXPECT_EQ(DecodeImage(ReadFile(c.out / rows[0].file))->width, 12);
}

TEST_F(Views, WrongUseIsRefusedBeforeAnythingIsMade) {
  const auto refused = [&](auto&& change) {
    ViewsConfig c = Config();
    change(c);
    EXPECT_THROW(GenerateViews(c, quiet_), UsageError);
    EXPECT_FALSE(fs::exists(c.out / "manifest.jsonl"));
  };
  refused([](ViewsConfig& c) { c.policy = NoisePolicy::kAdaptive; });  // without a table
  refused([](ViewsConfig& c) {
    c.noise_level = 1000;
    c.policy = NoisePolicy::kConstant;
  });
  refused([](ViewsConfig& c) { c.noise_level = 100; });  // with a random policy
  refused([](ViewsConfig& c) { c.scheduler = "Heun"; });
  refused([](ViewsConfig& c) { c.generator.clear(); });
}

// What the message about a scheduler that is not known here tells to do works.
TEST_F(Views, AFolderWhoseSchedulerIsNotKnownTakesAnother) {
  ViewsConfig c = Config();
  c.generator = GeneratorToChange();
  const Path file = c.generator / "scheduler/scheduler_config.json";
  Json scheduler = ReadJson(file);
  scheduler["_class_name"] = "UniPCMultistepScheduler";
  scheduler["solver_type"] = "bh2";
  WriteJson(file, scheduler);
  try {
    GenerateViews(c, quiet_);
    ADD_FAILURE() << "views were made with a scheduler that is not known here";
  } catch (const UsageError& error) {
    EXPECT_NE(error.text().what.find("UniPCMultistepScheduler"), std::string::npos) << error.text().what;
    EXPECT_EQ(error.text().where, file.string());
    EXPECT_NE(error.text().next.find("--scheduler"), std::string::npos) << error.text().next;
  }
  EXPECT_FALSE(fs::exists(c.out / "manifest.jsonl"));
  c.scheduler = "DDIM";
  EXPECT_EQ(GenerateViews(c, quiet_).written, 5);
  EXPECT_EQ(PlanViews(c, {.seconds = 0.2}, quiet_).scheduler, "DDIMScheduler");
  ViewsConfig known = c;
  known.generator = kGolden / "pipeline_pndm";
  known.out = folder_ / "known";
  GenerateViews(known, quiet_);
  for (const ViewRow& row : ReadViewTable(c.out / "manifest.jsonl")) {
    EXPECT_EQ(row.scheduler, "DDIMScheduler");
    EXPECT_EQ(ReadFile(c.out / row.file), ReadFile(known.out / row.file)) << row.file;
  }
}

TEST_F(Views, WhatCannotBeDoneLeavesTheViewsThatAreThere) {
  ViewsConfig made = Config();
  made.noise = folder_ / "noise.safetensors";
  WriteSafetensors(made.noise, {{"latents", at::zeros({5, 4, 8, 8})}, {"embedding_noise", at::zeros({5, 6})}});
  GenerateViews(made, quiet_);
  const auto before = Files(folder_);
  const auto refused = [&](auto&& change) {
    ViewsConfig c = made;
    change(c);
    EXPECT_THROW(GenerateViews(c, quiet_), Error);
    EXPECT_EQ(Files(folder_), before);
  };
  refused([](ViewsConfig& c) { c.steps = 1000; });  // of 1000 times
  refused([&](ViewsConfig& c) { c.dump = folder_; });
  refused([](ViewsConfig& c) { c.dump = c.noise; });
}

TEST_F(Views, PartsCanBeMeasuredAlone) {
  BenchViewsConfig c;
  c.generator = kGolden / "pipeline_text";
  c.rounds = 1;
  c.run.batch = 2;
  c.run.device = DeviceChoice::kCpu;
  c.keep = Residency::kOne;
  for (const BenchPart part : {BenchPart::kUnet, BenchPart::kDecode, BenchPart::kLoad}) {
    c.part = part;
    const Json figures = BenchFiguresToJson(BenchViews(c, quiet_));
    EXPECT_GT(figures["median_ms"].get<double>(), 0);
    if (part == BenchPart::kLoad) continue;
    EXPECT_EQ(figures["images_per_step"], 2);
    c.latents = 16;
    EXPECT_GT(BenchFiguresToJson(BenchViews(c, quiet_))["gflop_per_step"].get<double>(),
              2 * figures["gflop_per_step"].get<double>());
    c.latents = 0;
  }
}

TEST_F(Views, BenchMeasuresAndCounts) {
  BenchViewsConfig c;
  c.generator = kGolden / "pipeline_pndm";
  c.steps = 3;
  c.rounds = 1;
  c.run.batch = 2;
  c.run.device = DeviceChoice::kCpu;
  const Json three = BenchFiguresToJson(BenchViews(c, quiet_));
  c.steps = 8;  // counted from fewer steps
  const Json eight = BenchFiguresToJson(BenchViews(c, quiet_));
  c.steps = 7;
  const Json seven = BenchFiguresToJson(BenchViews(c, quiet_));
  for (const char* key :
       {"images_per_second", "peak_memory_bytes", "median_ms", "gflop_per_step", "matmul_gflops", "peak_share"})
    EXPECT_GT(eight[key].get<double>(), 0) << key;
  EXPECT_EQ(eight["images_per_step"], 2);
  const double step = eight["gflop_per_step"].get<double>() - seven["gflop_per_step"].get<double>();
  EXPECT_NEAR(eight["gflop_per_step"].get<double>() - three["gflop_per_step"].get<double>(), 5 * step,
              1e-6 * step + 1e-12);
}

TEST(ViewSeed, DependsOnRunPictureAndView) {
  EXPECT_EQ(ViewSeed(1, "a", 0), ViewSeed(1, "a", 0));
  EXPECT_NE(ViewSeed(1, "a", 0), ViewSeed(1, "a", 1));
  EXPECT_NE(ViewSeed(1, "a", 0), ViewSeed(1, "b", 0));
  EXPECT_NE(ViewSeed(1, "a", 0), ViewSeed(2, "a", 0));
}

class NamedSource : public ImageSource {
 public:
  explicit NamedSource(const std::vector<std::string>& ids) {
    for (const auto& id : ids) items_.push_back({id, id, -1});
  }
  int64_t size() const override { return static_cast<int64_t>(items_.size()); }
  const SourceItem& item(int64_t i) const override { return items_[static_cast<size_t>(i)]; }
  Outcome<Image> Read(int64_t) const override { return Outcome<Image>::Failed("none"); }
  Outcome<std::string> ReadBytes(int64_t) const override { return Outcome<std::string>::Failed("none"); }
  std::string Fingerprint() const override { return ""; }

 private:
  std::vector<SourceItem> items_;
};

TEST(ViewFileNames, MirrorIdsAndStayApart) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(ViewFileNames(NamedSource({"n1/a.JPEG", "n2/a.JPEG", "b"}), 1), (Names{"n1/a.png", "n2/a.png", "b.png"}));
  EXPECT_EQ(ViewFileNames(NamedSource({"x/a.jpg"}), 3), (Names{"x/a.png", "x/a_1.png", "x/a_2.png"}));
  EXPECT_EQ(ViewFileNames(NamedSource({"a.jpg", "a.png"}), 1), (Names{"a.jpg.png", "a.png.png"}));
  EXPECT_EQ(ViewFileNames(NamedSource({"a.jpg", "a_1.jpg"}), 2),
            (Names{"a.png", "a.jpg_1.png", "a_1.jpg.png", "a_1_1.png"}));
  EXPECT_EQ(ViewFileNames(NamedSource({"x.y/.hidden"}), 1), (Names{"x.y/.hidden.png"}));
  EXPECT_EQ(ViewFileNames(NamedSource({"a.jpg", "a.png", "a.png.png"}), 1),
            (Names{"a.jpg.png", "a.png.png", "a.png.png.png"}));
  const std::string longest = "n/" + std::string(251, 'x');
  EXPECT_EQ(ViewFileNames(NamedSource({longest + ".jpg"}), 2)[0], longest + ".png");
  EXPECT_EQ(ViewFileNames(NamedSource({longest + ".jpg"}), 2)[1], "n/" + Fingerprint(longest) + "_1.png");
  EXPECT_EQ(ViewFileNames(NamedSource({"a.jpg", "a.png/b.jpg"}), 1), (Names{"a.jpg.png", "a.png/b.png"}));
}

TEST_F(Views, LevelsFollowTheTable) {
  ViewsConfig c = Config();
  c.policy = NoisePolicy::kAdaptive;
  c.ratios = folder_ / "list.txt";
  WriteFile(c.ratios, "data/train/n1/a.jpg 0.05\ndata/train/n2/a.jpg 0.85\ndata/val/n2/a.jpg 0.5\n/abs/c.jpg 300\n");
  const NoiseLevels levels = NoiseLevels::Open(c);
  const auto of = [&](const char* id) { return levels.For({id, id, -1}, 0); };
  EXPECT_EQ(of("n1/a.jpg"), 0);
  EXPECT_EQ(of("data/train/n2/a.jpg"), 400);
  EXPECT_EQ(of("n2/a.jpg"), std::nullopt);  // two paths end so, with different levels
  EXPECT_EQ(of("c.jpg"), 300);
  EXPECT_EQ(of("z.jpg"), std::nullopt);
  c.levels = {0, 50};
  EXPECT_EQ(NoiseLevels::Open(c).For({"data/train/n2/a.jpg", "", -1}, 0), 50);
  c.ratios.clear();
  c.policy = NoisePolicy::kConstant;
  c.noise_level = 250;
  EXPECT_EQ(NoiseLevels::Open(c).For({"z.jpg", "", -1}, 0), 250);
  c.policy = NoisePolicy::kAdaptive;  // a level alone means constant
  EXPECT_EQ(NoiseLevels::Open(c).policy(), NoisePolicy::kConstant);
}

// A table that was scored for two levels: they stand where none are given, and nowhere else.
TEST_F(Views, LevelsThatAreGivenGoBeforeTheTables) {
  ViewsConfig c = Config();
  c.policy = NoisePolicy::kAdaptive;
  c.ratios = folder_ / "ratios.tsv";
  WriteForegroundTable(c.ratios, {{"a.png", "a.png", 0.3, 0}, {"b.png", "b.png", 0.7, 200}});
  const auto levels_of = [&](std::vector<int64_t> given) {
    c.levels = std::move(given);
    const NoiseLevels levels = NoiseLevels::Open(c);
    return std::pair(*levels.For({"a.png", "", -1}, 0), *levels.For({"b.png", "", -1}, 0));
  };
  EXPECT_EQ(levels_of({}), std::pair(int64_t{0}, int64_t{200}));
  EXPECT_EQ(levels_of({0, 100, 200, 300, 400}), std::pair(int64_t{100}, int64_t{300}));
  EXPECT_EQ(levels_of({0, 50}), std::pair(int64_t{0}, int64_t{50}));
}

TEST_F(Views, RandomLevelsAreAFunctionOfPictureAndView) {
  const NoiseLevels levels = NoiseLevels::Open(Config());
  std::map<int64_t, int> seen;
  for (int i = 0; i < 200; ++i) {
    const SourceItem item{std::to_string(i), "", -1};
    EXPECT_EQ(levels.For(item, 0), levels.For(item, 0));
    ++seen[*levels.For(item, 0)];
  }
  EXPECT_EQ(seen.size(), 5u);
}

TEST(RidgeClassifier, TellsDirectionsApart) {
  const Tensor labels = at::tensor({0, 1, 2, 0, 1, 2}, at::kLong);
  const Tensor centres = at::tensor({1.0, 0.1, 0.0, -0.2, 1.0, 0.1, 0.1, 0.0, -1.0}).view({3, 3});
  const Tensor embeddings =
      centres.index_select(0, labels) * at::tensor({1.0, 2.0, 0.5, 3.0, 1.0, 4.0}).view({6, 1});  // lengths say nothing
  const RidgeClassifier classifier = FitRidge(embeddings, labels, 3);
  EXPECT_TRUE(at::equal(classifier.Classes(embeddings), labels));
  EXPECT_TRUE(at::equal(classifier.Classes(10 * centres), at::tensor({0, 1, 2}, at::kLong)));
}

TEST_F(Views, LikenessHasARowForEveryLevelAndBin) {
  const auto source = OpenSource("shapes:count=40,size=24,seed=1");
  std::vector<ForegroundRow> table;
  for (int64_t i = 0; i < 40; ++i)
    table.push_back({source->item(i).id, source->item(i).path, static_cast<double>(i) / 40, 0});
  WriteForegroundTable(folder_ / "ratios.tsv", table);
  LikenessConfig config{.images = "shapes:count=40,size=24,seed=1",
                        .encoder = kGolden / "pipeline_ddim",
                        .generator = kGolden / "pipeline_ddim",
                        .ratios = folder_ / "ratios.tsv",
                        .levels = {0, 400},
                        .pictures = 10,
                        .steps = 2,
                        .guidance = 2,
                        .scheduler = "",
                        .run = Config().run};
  const Likeness likeness = MeasureLikeness(config, quiet_);
  EXPECT_EQ(likeness.pictures, 10);
  ASSERT_TRUE(likeness.real_kept.has_value());
  ASSERT_EQ(likeness.by_level.size(), 2u);
  ASSERT_EQ(likeness.by_bin.size(), 10u);
  for (const LikenessRow& level : likeness.by_level) {
    int64_t views = 0, kept = 0;
    double cosine = 0;
    std::vector<int64_t> per_bin;
    for (const LikenessRow& row : likeness.by_bin) {
      if (row.level != level.level) continue;
      per_bin.push_back(row.views);
      views += row.views;
      kept += row.kept;
      cosine += row.cosine * static_cast<double>(row.views);
    }
    EXPECT_EQ(per_bin,
              (std::vector<int64_t>{3, 2, 2, 2, 1}));  // ratios 0, 0.1, ... 0.9; an edge belongs to the lower bin
    EXPECT_EQ(views, level.views);
    EXPECT_EQ(kept, level.kept);
    EXPECT_NEAR(cosine / 10, level.cosine, 1e-9);
  }
  config.ratios.clear();
  config.run.batch = 3;
  const Likeness again = MeasureLikeness(config, quiet_);
  EXPECT_TRUE(again.by_bin.empty());
  EXPECT_EQ(again.by_level[0].views, 10);
  // The views are told what those of the run were told.
  config.generator = kGolden / "pipeline_text";
  const double without = MeasureLikeness(config, quiet_).by_level[0].cosine;
  config.prompt = "a {class}";
  const double with = MeasureLikeness(config, quiet_).by_level[0].cosine;
  EXPECT_NE(with, without);
  config.negative_prompt = "the hat";
  EXPECT_NE(MeasureLikeness(config, quiet_).by_level[0].cosine, with);
}

TEST(NoiseLevelOnCurve, RisesWithoutStepsFromTheLowestToTheHighest) {
  const std::vector<int64_t> levels{0, 100, 200, 300, 400};
  EXPECT_EQ(NoiseLevelOnCurve(0, levels, 1), 0);
  EXPECT_EQ(NoiseLevelOnCurve(0.33, levels, 1), 132);
  EXPECT_EQ(NoiseLevelOnCurve(1, levels, 1), 400);
  EXPECT_EQ(NoiseLevelOnCurve(0.5, levels, 2), 100);
  EXPECT_EQ(NoiseLevelOnCurve(0.25, levels, 0.5), 200);
  EXPECT_EQ(NoiseLevelOnCurve(0.5, {300, 100}, 1), 200);
  EXPECT_EQ(NoiseLevelOnCurve(1.5, levels, 1), 400);
}

TEST_F(Views, ACurveTakesThePlaceOfTheTablesSteps) {
  std::vector<ForegroundRow> table;
  for (const double ratio : {0.1, 0.25, 0.9})
    table.push_back({.id = Format("{}.png", ratio),
                     .path = Format("{}.png", ratio),
                     .ratio = ratio,
                     .noise_level = NoiseLevelFor(ratio, {0, 100, 200, 300, 400})});
  WriteForegroundTable(folder_ / "ratios.tsv", table);
  ViewsConfig c = Config();
  c.policy = NoisePolicy::kAdaptive;
  c.ratios = folder_ / "ratios.tsv";
  const auto levels_of = [&](double curve) {
    c.curve = curve;
    const NoiseLevels levels = NoiseLevels::Open(c);
    std::vector<int64_t> all;
    for (const ForegroundRow& row : table) all.push_back(*levels.For({row.id, "", -1}, 0));
    all.push_back(levels.highest());
    return all;
  };
  EXPECT_EQ(levels_of(0), (std::vector<int64_t>{0, 100, 400, 400}));
  EXPECT_EQ(levels_of(1), (std::vector<int64_t>{40, 100, 360, 400}));
  EXPECT_FALSE(ViewsRequest(Config()).contains("curve"));  // a folder made before there was one goes on
  EXPECT_TRUE(ViewsRequest(c).contains("curve"));
}

}  // namespace
}  // namespace genview
