#include "genview/records/records.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "genview/base/text.h"
#include "tests/temporary_folder.h"

namespace genview {
namespace {

class Records : public testing::Test {
 protected:
  Path Put(const std::string& text) {
    const Path path = folder_ / "file";
    WriteFile(path, text);
    return path;
  }
  std::vector<ForegroundRow> Table(const std::string& text) { return ReadForegroundTable(Put(text)); }
  std::string TableComplaint(const std::string& text) {
    try {
      (void)Table(text);
    } catch (const Error& error) {
      return error.text().what + "|" + error.text().where.substr(folder_.string().size());
    }
    return "";
  }
  std::string ViewComplaint(const std::string& text) {
    try {
      (void)ReadViewTable(Put(text));
    } catch (const Error& error) {
      return error.text().what + "|" + error.text().where.substr(folder_.string().size());
    }
    return "";
  }

  const TemporaryFolder place_;
  const Path folder_ = place_.path();
};

const std::vector<int64_t> kLevels = {0, 100, 200, 300, 400};
constexpr const char* kHeader = "id\tpath\tforeground_ratio\tnoise_level\n";

TEST(NoiseLevelFor, EdgesBelongToTheLowerBin) {
  const std::pair<double, int64_t> expected[] = {{0, 0},
                                                 {1.0 / 256, 0},
                                                 {0.2, 0},
                                                 {51.0 / 256, 0},
                                                 {52.0 / 256, 100},
                                                 {0.4, 100},
                                                 {103.0 / 256, 200},
                                                 {0.6, 200},
                                                 {0.8, 300},
                                                 {0.80001, 400},
                                                 {204.0 / 256, 300},
                                                 {205.0 / 256, 400},
                                                 {1.0, 400}};
  for (const auto& [ratio, level] : expected) EXPECT_EQ(NoiseLevelFor(ratio, kLevels), level) << ratio;
}

TEST(NoiseLevelFor, OtherNumbersOfLevelsDivideEvenly) {
  EXPECT_EQ(NoiseLevelFor(0.9, {7}), 7);
  EXPECT_EQ(NoiseLevelFor(0.5, {1, 2}), 1);
  EXPECT_EQ(NoiseLevelFor(0.51, {1, 2}), 2);
}

TEST_F(Records, ForegroundTableRoundTrip) {
  const std::vector<ForegroundRow> rows = {{"a/1.jpg", "/data/a/1.jpg", 0.33203125, 100},
                                           {"b 2.png", "shapes:count=3", 1, 400}};
  WriteForegroundTable(folder_ / "ratios.tsv", rows);
  EXPECT_TRUE(ReadFile(folder_ / "ratios.tsv").starts_with(kHeader));
  const auto back = ReadForegroundTable(folder_ / "ratios.tsv");
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(back[0].id, "a/1.jpg");
  EXPECT_EQ(back[0].path, "/data/a/1.jpg");
  EXPECT_EQ(back[0].ratio, 0.33203125);
  EXPECT_EQ(back[0].noise_level, 100);
  EXPECT_EQ(back[1].id, "b 2.png");
  EXPECT_EQ(back[1].noise_level, 400);
}

TEST_F(Records, ForegroundTableOfColumnsInAnyOrder) {
  const auto rows = Table("id\tnoise_level\textra\tpath\tforeground_ratio\nx\t300\t?\tp\t0.7\n");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].path, "p");
  EXPECT_EQ(rows[0].ratio, 0.7);
  EXPECT_EQ(rows[0].noise_level, 300);
}

TEST_F(Records, ForegroundTableMaySayGuidanceAndPrompt) {
  const std::string header = "id\tpath\tforeground_ratio\tnoise_level\tprompt\tguidance\n";
  const auto rows = Table(header + "x\tp\t0.7\t300\ta cat, asleep\t2.5\ny\tp\t0.7\t300\t\t\nz\tp\t0.7\t300\n");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].guidance, 2.5);
  EXPECT_EQ(rows[0].prompt, "a cat, asleep");
  for (size_t i = 1; i < 3; ++i) EXPECT_FALSE(rows[i].guidance || rows[i].prompt);
  for (const char* bad : {"much", "-1", "101", "nan"})
    EXPECT_NE(TableComplaint(header + "x\tp\t0.7\t300\t\t" + bad + "\n").find("guidance"), std::string::npos) << bad;
}

TEST_F(Records, OriginalListsOfRatiosAndOfLevels) {
  const auto ratios = Table("data/a b.JPEG 0.2\ndata/c.JPEG\t0.203125\r\n\n");
  ASSERT_EQ(ratios.size(), 2u);
  EXPECT_EQ(ratios[0].id, "data/a b.JPEG");
  EXPECT_EQ(ratios[0].noise_level, 0);
  EXPECT_EQ(ratios[1].noise_level, 100);
  const auto levels = Table("a.JPEG 0\nb.JPEG 100\nc.JPEG 400\nd.JPEG 1");
  ASSERT_EQ(levels.size(), 4u);
  for (const auto& row : levels) EXPECT_EQ(NoiseLevelFor(row.ratio, kLevels), row.noise_level);
  EXPECT_EQ(levels[1].noise_level, 100);
  EXPECT_EQ(levels[2].noise_level, 400);
  EXPECT_EQ(levels[3].ratio, 1);
}

TEST_F(Records, ARowThatIsThereTwice) {
  EXPECT_EQ(Table("a 0.5\na 0.5\n").size(), 1u);
  EXPECT_EQ(TableComplaint("a 0.5\na 0.6\n"), "`a` is there twice, with different values|/file, line 2");
}

TEST_F(Records, BadTablesNameTheLine) {
  const std::string header = kHeader;
  EXPECT_EQ(TableComplaint(header + "a\tp\t0.5\n"), "the column `noise_level` is missing|/file, line 2");
  EXPECT_EQ(TableComplaint(header + "a\tp\t0.5\t200\nb\tp\t1.5\t0\n"),
            "a ratio of 1.5 is not between 0 and 1|/file, line 3");
  EXPECT_NE(TableComplaint(header + "a\tp\tnan\t0\n").find("not a ratio"), std::string::npos);
  EXPECT_NE(TableComplaint(header + "a\tp\t0.1\t1000\n").find("not a noise level"), std::string::npos);
  EXPECT_NE(TableComplaint(header + "\tp\t0.1\t0\n").find("id is empty"), std::string::npos);
  EXPECT_NE(TableComplaint("id\tpath\n").find("no column `foreground_ratio`"), std::string::npos);
  EXPECT_NE(TableComplaint("just-a-path\n").find("no number behind the path"), std::string::npos);
  EXPECT_NE(TableComplaint("a -0.5\n").find("not between 0 and 1"), std::string::npos);
  EXPECT_NE(TableComplaint("a 150.5\n").find("not a noise level"), std::string::npos);
}

TEST_F(Records, ViewTableRoundTripWithoutATornLine) {
  ViewRow row;
  row.id = "n01/x.JPEG";
  row.index = 2;
  row.file = "images/n01/x.JPEG.2.png";
  row.noise_level = 300;
  row.seed = UINT64_MAX;
  row.steps = 20;
  row.guidance = 10.5;
  row.generator = "abc";
  row.scheduler = "PNDM";
  row.retried = 1;
  row.shard = "views-0002.tar";
  row.offset = 1536;
  row.prompt = "a bird";
  row.negative_prompt = "a hat";
  row.width = 24;
  row.height = 16;
  const std::string line = ViewRowToJson(row).dump();
  const auto rows = ReadViewTable(Put(line + "\n" + line.substr(0, 30)));
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(ViewRowToJson(rows[0]), ViewRowToJson(row));
  EXPECT_EQ(rows[0].negative_prompt, "a hat");
  EXPECT_EQ(std::pair(rows[0].width, rows[0].height), std::pair(int64_t{24}, int64_t{16}));
  EXPECT_TRUE(ReadViewTable(Put(line)).empty());
}

TEST_F(Records, AViewMadeAgainReplacesTheOneBefore) {
  const auto rows =
      ReadViewTable(Put("{\"id\":\"a\",\"file\":\"1.png\"}\n{\"id\":\"a\",\"index\":1,\"file\":\"2.png\"}\n"
                        "{\"id\":\"a\",\"file\":\"3.png\"}\n"));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].file, "3.png");
  EXPECT_EQ(rows[1].file, "2.png");
}

TEST_F(Records, BadViewTablesNameTheLine) {
  EXPECT_NE(ViewComplaint("{\"id\":\"a\",\"file\":\"x\"}\n{broken\n").find("line 2"), std::string::npos);
  EXPECT_NE(ViewComplaint("[]\n").find("not a JSON object|/file, line 1"), std::string::npos);
  EXPECT_NE(ViewComplaint("{\"file\":\"x\"}\n").find("without the `id`"), std::string::npos);
  for (const char* file : {"", "/etc/passwd", "../x.png", "a/../../x.png"}) {
    EXPECT_NE(ViewComplaint(Format("{{\"id\":\"a\",\"file\":\"{}\"}}\n", file)).find("not a path inside"),
              std::string::npos);
  }
  EXPECT_NE(ViewComplaint("{\"id\":\"a\",\"file\":\"x\",\"seed\":-1}\n").find("`seed`"), std::string::npos);
  EXPECT_NE(ViewComplaint("{\"id\":7,\"file\":\"x\"}\n"), "");
}

TEST_F(Records, SkippedRowsAreSortedAndSingle) {
  SkippedLog log;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&log, t] {
      for (int i = 0; i < 50; ++i) log.Add(Format("image-{:02}", i), Format("reason\t{}", t));
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(log.count(), 50);
  log.Write(folder_ / "skipped.tsv");
  const auto lines = ReadLines(folder_ / "skipped.tsv");
  ASSERT_EQ(lines.size(), 51u);
  EXPECT_EQ(lines[0], "id\treason");
  EXPECT_EQ(lines[1], "image-00\treason 0");
  EXPECT_EQ(lines[50], "image-49\treason 0");
}

TEST_F(Records, SkippedRowsOfCommandsInOneFolderStandSideBySide) {
  const Path file = folder_ / "skipped.tsv";
  SkippedLog one, two;
  one.Add("a.png", "empty");
  two.Add("b.png", "cut off");
  one.WriteShared(file, {"a.png"});
  two.WriteShared(file, {"b.png", "c.png"});
  EXPECT_EQ(ReadLines(file), (std::vector<std::string>{"id\treason", "a.png\tempty", "b.png\tcut off"}));
  SkippedLog().WriteShared(file, {"a.png"});  // it has been mended
  EXPECT_EQ(ReadLines(file), (std::vector<std::string>{"id\treason", "b.png\tcut off"}));
  SkippedLog().WriteShared(file, {"b.png"});
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST_F(Records, CommandsThatEndAtOnceLoseNoSkippedRow) {
  constexpr int kCommands = 4, kTimes = 25;
  const Path file = folder_ / "skipped.tsv";
  std::vector<pid_t> children;
  for (int c = 0; c < kCommands; ++c) {
    const pid_t child = ::fork();
    if (child != 0) {
      children.push_back(child);
      continue;
    }
    try {
      for (int i = 0; i < kTimes; ++i) {
        SkippedLog log;
        const std::string id = Format("{}-{:02}.png", c, i);
        log.Add(id, "empty");
        log.WriteShared(file, {id});
      }
    } catch (const Error&) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(ReadLines(file).size(), size_t{1 + kCommands * kTimes});
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);  // nothing beside it
}

TEST_F(Records, NothingSkippedLeavesNoFileOrAHeader) {
  WriteFile(folder_ / "skipped.tsv", "id\treason\nold\told\n");
  SkippedLog().Write(folder_ / "skipped.tsv");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "skipped.tsv"));
  SkippedLog().Write(folder_ / "skipped.tsv", /*even_empty=*/true);
  EXPECT_EQ(ReadFile(folder_ / "skipped.tsv"), "id\treason\n");
}

TEST(EvalResult, JsonRoundTrip) {
  EvalResult result;
  result.kind = "knn";
  result.top1 = 61.25;
  result.top5 = 88.5;
  result.images = 400;
  result.classes = 10;
  result.seed = UINT64_MAX;
  result.checkpoint = "xyz";
  result.normalisation = {{"size", 64}};
  result.settings = {{"k", 20}};
  Json json = EvalResultToJson(result);
  EXPECT_EQ(json["top1"], 61.25);
  EXPECT_FALSE(json.contains("top5_low"));
  EXPECT_EQ(json["unit"], "percent");
  EXPECT_EQ(EvalResultToJson(EvalResultFromJson(json, "linear.json")), json);
  result.top5_range = {87.5, 89.25};
  json = EvalResultToJson(result);
  EXPECT_EQ(json["top5_low"], 87.5);
  EXPECT_EQ(json["top5_high"], 89.25);
  EXPECT_EQ(EvalResultToJson(EvalResultFromJson(json, "fewshot.json")), json);
  EXPECT_THROW(EvalResultFromJson(Json::array(), "x"), Error);
  EXPECT_THROW(EvalResultFromJson({{"top1", "high"}}, "x"), Error);
}

// Values of statsmodels' proportion_confint(method="wilson").
TEST(WilsonInterval, KnownValues) {
  const auto [low, high] = WilsonInterval(8, 10);
  EXPECT_NEAR(low, 0.490162471536642, 1e-12);
  EXPECT_NEAR(high, 0.943317848545625, 1e-12);
  EXPECT_EQ(WilsonInterval(0, 10).first, 0);
  EXPECT_NEAR(WilsonInterval(0, 10).second, 0.277532799862889, 1e-12);
  EXPECT_DOUBLE_EQ(WilsonInterval(10, 10).second, 1);
  EXPECT_EQ(WilsonInterval(0, 0), (std::pair{0.0, 1.0}));
  EXPECT_NEAR(WilsonInterval(0, 10, 2.5758293035489).second, 0.398854093304908, 1e-12);  // z^2 / (10 + z^2), z of 99%
}

TEST(TsvField, BreaksBecomeBlanks) { EXPECT_EQ(TsvField("a\tb\nc\rd"), "a b c d"); }

}  // namespace
}  // namespace genview
