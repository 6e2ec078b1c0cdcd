#include "genview/report/scores.h"

#include <gtest/gtest.h>

#include <cmath>

#include "genview/base/text.h"
#include "genview/records/records.h"

namespace genview {
namespace {

ArmScore One(double value, double low, double high) {
  ArmScore score;
  score.value = value;
  score.low = low;
  score.high = high;
  score.interval = "95% Wilson over images";
  score.seeds = {{0, value, low, high}};
  return score;
}

ArmScore Seeds(const std::vector<double>& values) {
  ArmScore score;
  for (size_t i = 0; i < values.size(); ++i) {
    score.seeds.push_back({i, values[i], values[i] - 1, values[i] + 1});
    score.value += values[i] / static_cast<double>(values.size());
  }
  score.low = score.value - 5;
  score.high = score.value + 5;
  score.interval = "95% t over seeds";
  return score;
}

// Newcombe 1998, table II (a): 56/70 against 48/80, method 10: difference 0.2, interval 0.0524 to 0.3339.
TEST(Compare, OneSeedIsNewcombesMethodTen) {
  const auto wilson = [](int64_t hits, int64_t total) {
    const auto [low, high] = WilsonInterval(hits, total);
    return One(100.0 * static_cast<double>(hits) / static_cast<double>(total), 100 * low, 100 * high);
  };
  const Difference gain = Compare(wilson(56, 70), wilson(48, 80));
  EXPECT_NEAR(gain.value, 20, 1e-9);
  EXPECT_NEAR(gain.low, 5.24, 0.01);
  EXPECT_NEAR(gain.high, 33.39, 0.01);
  EXPECT_TRUE(gain.Clear());
}

// As surely as it is asked for: pictures are counted again, over draws and over seeds quantiles are Student's.
TEST(Compare, AnyConfidenceMayBeAskedFor) {
  const auto wilson = [](int64_t hits, int64_t total, double z) {
    const auto [low, high] = WilsonInterval(hits, total, z);
    ArmScore score = One(100.0 * static_cast<double>(hits) / static_cast<double>(total), 100 * low, 100 * high);
    score.images = total;
    return score;
  };
  constexpr double kUsual = 1.959963984540054, kSure = 2.5758293035489;  // 95 and 99%
  const Difference sure = Compare(wilson(56, 70, kUsual), wilson(48, 80, kUsual), 0.99),
                   counted = Compare(wilson(56, 70, kSure), wilson(48, 80, kSure));
  EXPECT_NEAR(sure.low, counted.low, 1e-9);
  EXPECT_NEAR(sure.high, counted.high, 1e-9);
  EXPECT_NEAR(sure.low, 0.537, 1e-3);

  const Difference seeds = Compare(Seeds({11, 22, 33}), Seeds({10, 20, 30}), 0.99);
  EXPECT_NEAR(seeds.high - seeds.value, 9.92484320091807 / std::sqrt(3.0), 1e-9);
  ArmScore several = Seeds({24, 26});  // a standard error of 1, and t(1) = 63.657
  for (SeedScore& seed : several.seeds) seed.seed += 7;
  ArmScore still = One(50, 50, 50);
  still.draws = 3;
  EXPECT_NEAR(Compare(several, still, 0.99).low, -25 - 25, 1e-9);  // an accuracy is not below 0
  const double wider = 9.92484320091807 / 4.30265272974946;
  ArmScore drawn = still;
  drawn.seeds[0] = {0, 60, 57, 61};
  const Difference draws = Compare(drawn, still, 0.99);
  EXPECT_NEAR(draws.low, 10 - 3 * wider, 1e-9);
  EXPECT_NEAR(draws.high, 10 + wider, 1e-9);
}

TEST(Compare, SeedsArePaired) {
  // Differences 1, 2, 3: mean 2, standard error 1/sqrt(3), t(2) = 4.303.
  const Difference gain = Compare(Seeds({11, 22, 33}), Seeds({10, 20, 30}));
  EXPECT_NEAR(gain.value, 2, 1e-12);
  EXPECT_NEAR(gain.high - gain.value, 4.30265272974946 / std::sqrt(3.0), 1e-9);
  EXPECT_FALSE(gain.Clear());
  EXPECT_EQ(gain.seeds, (std::vector<uint64_t>{0, 1, 2}));
}

// 1 picture of 100 more in both seeds: Student's interval would be from 1 to 1, and the gain clear.
TEST(Compare, SeedsThatAllDifferByTheSameAreNoProof) {
  const Difference gain = Compare(Seeds({11, 21}), Seeds({10, 20}));
  EXPECT_NEAR(gain.value, 1, 1e-12);
  EXPECT_NEAR(gain.high - gain.value, std::sqrt(2.0), 1e-12);
  EXPECT_FALSE(gain.Clear());
  EXPECT_FALSE(gain.paired);
  EXPECT_EQ(gain.seeds, (std::vector<uint64_t>{0, 1}));
}

// A run on its way: the mean over the baseline's seeds is not what one seed of the arm is held to.
TEST(Compare, OnlyCommonSeedsCount) {
  const Difference one = Compare(One(14, 13, 15), Seeds({10, 20, 30}));
  EXPECT_NEAR(one.value, 4, 1e-12);
  EXPECT_NEAR(one.high - one.value, std::sqrt(2.0), 1e-12);
  EXPECT_EQ(one.seeds, (std::vector<uint64_t>{0}));
  const Difference two = Compare(Seeds({11, 23}), Seeds({10, 20, 300}));
  EXPECT_NEAR(two.value, 2, 1e-12);
  EXPECT_EQ(two.seeds, (std::vector<uint64_t>{0, 1}));
}

TEST(Compare, WithoutACommonSeedIntervalsAreJoinedAsTheyAreShown) {
  ArmScore other = One(14, 13, 15);
  other.seeds[0].seed = 7;
  const Difference single = Compare(other, Seeds({10, 20, 30}));
  EXPECT_NEAR(single.value, -6, 1e-12);
  EXPECT_NEAR(single.high - single.value, std::sqrt(26.0), 1e-12);
  ArmScore several = Seeds({24, 26});
  for (SeedScore& seed : several.seeds) seed.seed += 7;
  const Difference means = Compare(several, Seeds({10, 20, 30}));
  EXPECT_NEAR(means.value, 5, 1e-12);
  EXPECT_NEAR(means.high - means.value, std::sqrt(50.0), 1e-12);
  EXPECT_TRUE(means.seeds.empty());
}

EvalResult Result(const std::string& kind, double top1, uint64_t seed) {
  EvalResult result;
  result.kind = kind;
  result.top1 = top1;
  result.top5 = 90;
  result.top1_low = top1 - 2;
  result.top1_high = top1 + 2;
  result.images = 100;
  result.classes = 10;
  result.seed = seed;
  result.checkpoint = "encoder";
  result.normalisation = Json::object();
  result.settings = Json::object();
  return result;
}

TEST(CollectScores, SeedFoldersAreAveraged) {
  const Path run = testing::TempDir() + "collect_scores";
  std::filesystem::remove_all(run);
  for (const char* folder : {"baseline", "genview", "genview/seed-0", "genview/seed-1"})
    WriteJson(run / folder / "pretrain/summary.json", {{"encoder", "encoder"}});
  WriteJson(run / "baseline" / "eval" / "knn.json", EvalResultToJson(Result("knn", 30, 0)));
  WriteJson(run / "baseline" / "eval" / "linear.json", EvalResultToJson(Result("linear", 50, 0)));
  WriteJson(run / "genview" / "eval" / "linear.json",
            EvalResultToJson(Result("linear", 10, 0)));  // of an earlier recipe
  WriteJson(run / "genview" / "seed-0" / "eval" / "linear.json", EvalResultToJson(Result("linear", 52, 0)));
  WriteJson(run / "genview" / "seed-1" / "eval" / "linear.json", EvalResultToJson(Result("linear", 56, 1)));
  const auto scores = CollectScores(run, {"baseline", "genview", "not there"}, {0});
  ASSERT_EQ(scores.size(), 6u);  // top1 and top5 each
  EXPECT_EQ(scores[0].arm + scores[0].eval + scores[0].score, "baselinelineartop1");
  EXPECT_EQ(scores[2].eval, "knn");
  EXPECT_EQ(scores[0].low, 48);
  EXPECT_EQ(scores[4].arm, "genview");
  EXPECT_EQ(scores[4].value, 10);
  const auto seeds = CollectScores(run, {"genview"}, {0, 1});
  ASSERT_EQ(seeds.size(), 2u);
  EXPECT_EQ(seeds[0].value, 54);
  EXPECT_EQ(seeds[0].seeds.size(), 2u);
  EXPECT_EQ(ScoresToJson(seeds)["results"][0]["interval"], "95% t over seeds");
  EXPECT_EQ(seeds[1].value, 90);  // top-5 of both: the interval of one
  EXPECT_EQ(seeds[1].interval, "95% Wilson over images");
  EXPECT_LT(seeds[1].low, 90);
  EXPECT_GT(seeds[1].high, 90);
  const Json json = ScoresToJson(scores);
  EXPECT_EQ(json["results"].size(), 6u);
  EXPECT_EQ(json["results"][0]["seeds"][0]["value"], 50.0);
  EXPECT_EQ(json["results"][0]["interval"], "95% Wilson over images");
}

TEST(CollectScores, ScoresOfAnotherEncoderAreLeftOut) {
  const Path run = testing::TempDir() + "collect_current";
  std::filesystem::remove_all(run);
  WriteJson(run / "arm/eval/linear.json", EvalResultToJson(Result("linear", 50, 0)));
  EXPECT_EQ(CollectScores(run, {"arm"}, {0}).size(), 2u);  // a folder that somebody put together
  std::filesystem::create_directories(run / "arm/pretrain/checkpoints");
  EXPECT_TRUE(CollectScores(run, {"arm"}, {0}).empty());  // trained anew, and not yet done
  WriteJson(run / "arm/pretrain/summary.json", {{"encoder", "a later one"}});
  EXPECT_TRUE(CollectScores(run, {"arm"}, {0}).empty());
  WriteJson(run / "arm/pretrain/summary.json", {{"encoder", "encoder"}});
  EXPECT_EQ(CollectScores(run, {"arm"}, {0}).size(), 2u);
}

// `genview eval linear --out RUN/arm/eval/tenth.json`, say.
TEST(CollectScores, AnotherFileOfAKindIsNoSeed) {
  const Path run = testing::TempDir() + "collect_twice";
  std::filesystem::remove_all(run);
  WriteJson(run / "arm/eval/linear.json", EvalResultToJson(Result("linear", 50, 0)));
  WriteJson(run / "arm/eval/tenth.json", EvalResultToJson(Result("linear", 30, 0)));
  const auto scores = CollectScores(run, {"arm"}, {0});
  ASSERT_EQ(scores.size(), 2u);
  EXPECT_EQ(scores[0].value, 50);
  EXPECT_EQ(scores[0].seeds.size(), 1u);
}

TEST(CollectScores, FewShotIntervalsAreOverDraws) {
  const Path run = testing::TempDir() + "collect_fewshot";
  std::filesystem::remove_all(run);
  WriteJson(run / "arm/pretrain/summary.json", {{"encoder", "encoder"}});
  for (const char* kind : {"finetune", "fewshot", "knn"}) {
    EvalResult result = Result(kind, 50, 0);
    if (std::string_view(kind) == "fewshot") {
      result.top5_range = {89, 91.5};
      result.settings = {{"draws", 3}};
    }
    WriteJson(run / "arm/eval" / Format("{}.json", kind), EvalResultToJson(result));
  }
  const std::vector<ArmScore> scores = CollectScores(run, {"arm"}, {0});
  const Json rows = ScoresToJson(scores)["results"];
  ASSERT_EQ(rows.size(), 6u);
  for (size_t i = 0; i < scores.size(); ++i) EXPECT_EQ(scores[i].draws, i == 2 || i == 3 ? 3 : 0) << i;
  EXPECT_EQ(rows[0]["eval"], "knn");
  EXPECT_EQ(rows[2]["eval"], "fewshot");
  EXPECT_EQ(rows[2]["interval"], "95% t over draws");
  EXPECT_EQ(rows[3]["score"], "top5");
  EXPECT_EQ(rows[3]["interval"], "95% t over draws");
  EXPECT_EQ(rows[3]["low"], 89.0);
  EXPECT_EQ(rows[3]["high"], 91.5);
  EXPECT_EQ(rows[4]["eval"], "finetune");
  EXPECT_EQ(rows[4]["interval"], "95% Wilson over images");
}

}  // namespace
}  // namespace genview
