#include <gtest/gtest.h>

#include <cmath>
#include <iterator>
#include <map>
#include <set>
#include <stdexcept>

#include "genview/base/error.h"
#include "genview/data/source.h"
#include "genview/eval/fewshot.h"
#include "genview/eval/knn.h"
#include "genview/eval/linear.h"
#include "genview/tensor/safetensors.h"
#include "tests/temporary_folder.h"

namespace genview {
namespace {

class EvalTest : public testing::Test {
 protected:
  EvalTest() {
    // An encoder with random weights still tells red pictures from blue ones.
    BackboneConfig backbone;
    backbone.width = 4.0 / 64;
    backbone.small_stem = true;
    auto net = MakeBackbone(backbone);
    net->Init(Seed(0));
    Preprocess preprocess;
    preprocess.size = preprocess.resize_shortest = 8;
    const Json meta = {
        {"format", 1}, {"kind", "pretrain"}, {"backbone", FieldsToJson(backbone)}, {"preprocess", preprocess.ToJson()}};
    WriteSafetensors(folder_ / "encoder.safetensors", NamedTensors(net->Weights(), "encoder."),
                     {{"genview", meta.dump()}});
    Pictures("train", 8);
    Pictures("test", 4);
  }

  void Pictures(const std::string& name, int64_t per_class) const {
    const std::vector<std::pair<std::string, std::array<uint8_t, 3>>> classes = {
        {"blue", {30, 30, 220}}, {"green", {30, 220, 30}}, {"red", {220, 30, 30}}};
    for (const auto& [label, colour] : classes) {
      for (int64_t i = 0; i < per_class; ++i) {
        Image image(8, 8);
        Random random(Seed(9).With(name).With(label).With(static_cast<uint64_t>(i)));
        for (size_t p = 0; p < image.pixels.size(); ++p)
          image.pixels[p] = static_cast<uint8_t>(colour[p % 3] + random.Below(30));
        WriteFile(folder_ / name / label / Format("{}.png", i), EncodePng(image));
      }
    }
  }
  EvalInputs Inputs(const std::string& out = "") const {
    EvalInputs inputs;
    inputs.train = (folder_ / "train").string();
    inputs.test = (folder_ / "test").string();
    inputs.checkpoint = folder_ / "encoder.safetensors";
    if (!out.empty()) inputs.out = folder_ / out;
    inputs.run.precision = Precision::kFp32;
    return inputs;
  }

  const TemporaryFolder place_;
  const Path folder_ = place_.path();
  Progress silent_;
};

TEST_F(EvalTest, NeighboursOfTheSameColour) {
  KnnConfig config;
  config.inputs = Inputs("knn.json");
  config.k = 3;
  const EvalResult result = EvalKnn(config, silent_);
  EXPECT_EQ(result.kind, "knn");
  EXPECT_EQ(result.top1, 100);
  EXPECT_EQ(result.images, 12);
  EXPECT_EQ(result.classes, 3);
  EXPECT_LT(result.top1_low, 80);
  EXPECT_EQ(result.top1_high, 100);
  EXPECT_EQ(result.settings["k"], 3);
  EXPECT_EQ(result.settings["precision"], "fp32");
  EXPECT_EQ(result.settings["top1_by_k"]["1"], 100.0);
  EXPECT_EQ(result.normalisation["size"], 8);
  EXPECT_EQ(EvalResultToJson(EvalResultFromJson(ReadJson(folder_ / "knn.json"), "knn.json")), EvalResultToJson(result));
}

TEST_F(EvalTest, ALineBetweenColours) {
  LinearConfig config;
  config.inputs = Inputs("linear.json");
  config.epochs = 30;
  const EvalResult result = EvalLinear(config, silent_);
  EXPECT_GE(result.top1, 90);
  EXPECT_EQ(result.top5, 100);
  EXPECT_EQ(result.settings["train_images"], 24);
  EXPECT_EQ(result.settings["holdout_images"], 2);
  EXPECT_EQ(result.settings["holdout_top1"].size(), 6u);
  EXPECT_GT(result.settings["lr"].get<double>(), 0);
}

TEST_F(EvalTest, ALineOnCropsIsTrainedOnceOnAllAndSaysSo) {
  LinearConfig config;
  config.inputs = Inputs("crops.json");
  config.crops = true;
  config.epochs = 20;
  config.batch = 8;
  config.lrs = {0.1};
  config.schedule = ScheduleKind::kStep;
  const EvalResult result = EvalLinear(config, silent_);
  EXPECT_EQ(result.kind, "linear");
  EXPECT_GE(result.top1, 80);
  EXPECT_EQ(result.images, 12);
  EXPECT_EQ(result.settings["train_images"], 24);
  EXPECT_FALSE(result.settings.contains("holdout_images"));
  EXPECT_EQ(result.settings["crops"], true);
  EXPECT_EQ(result.settings["optimizer"], "sgd");
  EXPECT_EQ(result.settings["init"], 0.01);
  EXPECT_EQ(result.settings["protocol"],
            "frozen encoder, random crops (0.08 to 1 of the picture) and flips drawn in each epoch, test on the centre "
            "crop; SGD on cross-entropy, step rate");

  // Again, with other threads: the same bytes. The state of a training that was killed goes with the result.
  const std::string bytes = ReadFile(folder_ / "crops.json");
  std::filesystem::remove(folder_ / "crops.json");
  config.inputs.run.threads = 3;
  EvalLinear(config, silent_);
  EXPECT_EQ(ReadFile(folder_ / "crops.json"), bytes);
  WriteFile(folder_ / ".crops.json.state/step-0000000003.safetensors", "left behind");
  EvalLinear(config, silent_);
  EXPECT_FALSE(std::filesystem::exists(folder_ / ".crops.json.state"));
}

TEST_F(EvalTest, OfSeveralRatesOnCropsTheBestOnWhatWasHeldOutIsTested) {
  LinearConfig config;
  config.inputs = Inputs();
  config.crops = true;
  config.epochs = 20;
  config.batch = 8;
  config.holdout = 0.25;
  config.lrs = {1e-9, 0.1};
  EvalResult result = EvalLinear(config, silent_);
  EXPECT_EQ(result.settings["holdout_images"], 6);
  EXPECT_EQ(result.settings["holdout_top1"].size(), 2u);
  EXPECT_EQ(result.settings["train_images"], 18);
  EXPECT_EQ(result.settings["lr"], 0.1);

  config.standardise = false;
  config.optimizer = ProbeOptimizer::kLarsMmpretrain;
  config.lrs = {1.6};
  config.epochs = 1;
  result = EvalLinear(config, silent_);
  EXPECT_EQ(result.settings["train_images"], 24);
  EXPECT_EQ(result.settings["optimizer"], "lars-mmpretrain");
}

TEST_F(EvalTest, OfOnePicturePerClassTheMiddleRateIsTakenAndTheResultSaysSo) {
  for (const bool crops : {false, true}) {
    LinearConfig config;
    config.inputs = Inputs();
    config.inputs.fraction = 0.01;
    config.crops = crops;
    config.epochs = 3;
    config.lrs = {0.3, 0.001, 0.03, 0.01};
    const EvalResult result = EvalLinear(config, silent_);
    EXPECT_EQ(result.settings["lr"], 0.03);
    EXPECT_EQ(result.settings["lr_chosen"], "the middle of lrs: no class has two pictures");
    EXPECT_EQ(result.settings["holdout_images"], 0);
    EXPECT_FALSE(result.settings.contains("holdout_top1"));
    EXPECT_EQ(result.settings["train_images"], 3);
    config.lrs = {0.03};
    const EvalResult alone = EvalLinear(config, silent_);
    EXPECT_EQ(alone.top1, result.top1);
    EXPECT_FALSE(alone.settings.contains("lr_chosen"));
  }
}

TEST(SplitForRates, HoldsOutTheFirstOfARandomOrder) {
  const std::vector<int64_t> labels = {0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2};
  const std::vector<int64_t> order = Permutation(Seed(5).With("holdout"), 12);
  const RateSplit split = SplitForRates(labels, 3, Seed(5));
  EXPECT_EQ(split.held, (std::vector<int64_t>{order.begin(), order.begin() + 3}));
  EXPECT_EQ(split.fit, (std::vector<int64_t>{order.begin() + 3, order.end()}));
  EXPECT_TRUE(SplitForRates(labels, 0, Seed(5)).held.empty());
}

TEST(SplitForRates, LeavesEachClassAPictureToBeFittedOn) {
  const std::vector<int64_t> labels = {3, 0, 0, 0, 0, 1, 2, 2};
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const RateSplit split = SplitForRates(labels, 4, Seed(seed));
    EXPECT_EQ(split.held.size(), 4u);  // three of class 0 and one of class 2
    std::set<int64_t> fitted, places(split.held.begin(), split.held.end());
    for (const int64_t place : split.fit) fitted.insert(labels[static_cast<size_t>(place)]);
    EXPECT_EQ(fitted.size(), 4u) << seed;
    places.insert(split.fit.begin(), split.fit.end());
    EXPECT_EQ(places.size(), labels.size());
  }
  EXPECT_TRUE(SplitForRates({0, 1, 2}, 1, Seed(0)).held.empty());
}

TEST_F(EvalTest, ALineOnCropsCountsBadPicturesOnce) {
  WriteFile(folder_ / "test/red/0.png", "no picture");
  WriteFile(folder_ / "train/blue/3.png", "no picture");
  LinearConfig config;
  config.inputs = Inputs("crops.json");
  config.crops = true;
  config.epochs = 2;
  config.lrs = {0.01, 0.1};
  EXPECT_EQ(SkippedOf(EvalLinear(config, silent_)), 2);
  config.inputs.run.strict = true;
  EXPECT_THROW(EvalLinear(config, silent_), Error);  // the result is there
  config.inputs.out.clear();
  EXPECT_THROW(EvalLinear(config, silent_), Error);
}

// Results from before there were crops stay known.
TEST_F(EvalTest, SettingsThatAreAsBeforeAreNotNamed) {
  LinearConfig config;
  config.inputs = Inputs();
  config.epochs = 2;
  const EvalResult before = EvalLinear(config, silent_);
  for (const char* later : {"crops", "optimizer", "nesterov", "schedule", "per_epoch", "init"})
    EXPECT_FALSE(before.settings.contains(later)) << later;
  EXPECT_EQ(before.settings["protocol"],
            "frozen features of the centre crop, computed once; SGD on cross-entropy, cosine rate");
  config.nesterov = true;
  config.per_epoch = true;
  const EvalResult other = EvalLinear(config, silent_);
  EXPECT_EQ(other.settings["schedule"], "cosine");
  EXPECT_EQ(other.settings["protocol"],
            "frozen features of the centre crop, computed once; SGD with Nesterov's momentum on cross-entropy, cosine "
            "rate by epoch");
  EXPECT_NE(other.settings["request"], before.settings["request"]);
}

TEST_F(EvalTest, LinesThatCannotBeTrainedAreRefused) {
  LinearConfig config;
  config.inputs = Inputs();
  EXPECT_THROW(ReadFields(config, {{"optimizer", "lasr"}}, {"recipe.toml", "eval.linear"}), UsageError);
  EXPECT_THROW(ReadFields(config, {{"optimizer", "adamw"}}, {"recipe.toml", "eval.linear"}), UsageError);
  EXPECT_THROW(ReadFields(config, {{"init", -1}}, {"recipe.toml", "eval.linear"}), UsageError);
  config.optimizer = ProbeOptimizer::kLars;
  config.nesterov = true;
  EXPECT_THROW(EvalLinear(config, silent_), UsageError);
  config.nesterov = false;
  config.crops = true;
  config.inputs.train = (folder_ / "train/red").string();  // without classes
  EXPECT_THROW(EvalLinear(config, silent_), Error);
  config.inputs.train = (folder_ / "train").string();
  config.lrs.clear();
  EXPECT_THROW(EvalLinear(config, silent_), UsageError);
}

TEST_F(EvalTest, SameInputsSameFileAndNoSecondRun) {
  LinearConfig config;
  config.epochs = 3;
  config.inputs = Inputs("a.json");
  const EvalResult first = EvalLinear(config, silent_);
  config.inputs = Inputs("b.json");
  config.inputs.run.threads = 3;
  config.inputs.run.batch = 5;
  EvalLinear(config, silent_);
  Json a = ReadJson(folder_ / "a.json"), b = ReadJson(folder_ / "b.json");
  EXPECT_EQ(a["top1"], b["top1"]);
  EXPECT_EQ(a["settings"], b["settings"]);

  struct MustNotRun : Progress {
    void Begin(std::string_view, int64_t, std::string_view) override { throw std::logic_error("ran again"); }
  } quiet;
  config.inputs = Inputs("a.json");
  EXPECT_EQ(EvalResultToJson(EvalLinear(config, quiet)), EvalResultToJson(first));
  config.inputs.run.precision = Precision::kBf16;
  EXPECT_THROW(EvalLinear(config, quiet), std::logic_error);
  config.inputs.run.precision = Precision::kFp32;
  config.inputs.run.seed = 1;
  EXPECT_THROW(EvalLinear(config, quiet), std::logic_error);
}

TEST_F(EvalTest, CachedFeaturesGiveTheSameScore) {
  KnnConfig config;
  config.k = 2;
  config.inputs = Inputs();
  const EvalResult plain = EvalKnn(config, silent_);
  config.inputs.cache = folder_ / "cache";
  EXPECT_EQ(EvalResultToJson(EvalKnn(config, silent_)), EvalResultToJson(plain));
  struct MustNotEncode : Progress {
    void Begin(std::string_view, int64_t, std::string_view) override { throw std::logic_error("encoded again"); }
  } quiet;
  EXPECT_EQ(EvalResultToJson(EvalKnn(config, quiet)), EvalResultToJson(plain));
}

// Asks to stop after so many batches, and knows how many pictures each pass began with.
struct StopsAfter : Progress {
  explicit StopsAfter(int64_t stop_after = int64_t{1} << 40) : most(stop_after) {}
  void Begin(std::string_view, int64_t, std::string_view) override { fresh = true; }
  void Update(int64_t done, double, std::string_view) override {
    if (fresh) begins.push_back(done);
    else ++batches;
    fresh = false;
  }
  bool Stopped() const override { return batches >= most; }
  int64_t most, batches = 0;
  bool fresh = false;
  std::vector<int64_t> begins;
};

TEST_F(EvalTest, EncodingThatWasStoppedGoesOn) {
  WriteFile(folder_ / "train/blue/1.png", "no picture");
  KnnConfig config;
  config.inputs = Inputs("knn.json");
  config.inputs.run.batch = 3;  // 8 batches of training pictures, 4 of test pictures
  config.k = 2;
  EvalKnn(config, silent_);
  const std::string bytes = ReadFile(folder_ / "knn.json"), bad = ReadFile(folder_ / "skipped.tsv");
  const Path rows = folder_ / ".knn.json.features";
  EXPECT_FALSE(std::filesystem::exists(rows));
  // A stop is seen one batch later. Of the first three pictures one cannot be read.
  const std::map<int64_t, std::vector<int64_t>> begins = {{0, {2, 0}}, {1, {5, 0}}, {7, {23, 0}}, {8, {23, 3}}};
  for (const auto& [batches, wanted] : begins) {
    std::filesystem::remove(folder_ / "knn.json");
    std::filesystem::remove(folder_ / "skipped.tsv");
    StopsAfter stopped(batches), rest;
    EXPECT_THROW(EvalKnn(config, stopped), Interrupted);
    EXPECT_TRUE(std::filesystem::exists(rows));
    EvalKnn(config, rest);
    EXPECT_EQ(rest.begins, wanted) << batches;
    EXPECT_EQ(ReadFile(folder_ / "knn.json"), bytes) << batches;
    EXPECT_EQ(ReadFile(folder_ / "skipped.tsv"), bad) << batches;
    EXPECT_FALSE(std::filesystem::exists(rows));
  }

  // Under strict what was left out is read again; a result that is there needs no rows.
  std::filesystem::remove(folder_ / "knn.json");
  StopsAfter stopped(8);
  EXPECT_THROW(EvalKnn(config, stopped), Interrupted);
  config.inputs.run.strict = true;
  EXPECT_THROW(EvalKnn(config, silent_), Error);
  config.inputs.run.strict = false;
  WriteFile(folder_ / "knn.json", bytes);
  EvalKnn(config, silent_);
  EXPECT_FALSE(std::filesystem::exists(rows));
}

TEST_F(EvalTest, EncodingThatWasKilledGoesOn) {
  struct Killed : StopsAfter {
    using StopsAfter::StopsAfter;
    void Update(int64_t done, double wait_share, std::string_view note) override {
      StopsAfter::Update(done, wait_share, note);
      if (batches >= most) throw std::runtime_error("killed");
    }
    bool Stopped() const override { return false; }
  };
  FewshotConfig config;
  config.inputs = Inputs("fewshot.json");
  config.inputs.run.batch = 1;
  config.shots = {8};  // all 24 pictures
  config.draws = 2;
  EvalFewshot(config, silent_);
  const std::string bytes = ReadFile(folder_ / "fewshot.json");
  std::filesystem::remove(folder_ / "fewshot.json");
  Killed killed(20);
  StopsAfter rest;
  EXPECT_THROW(EvalFewshot(config, killed), std::runtime_error);
  EvalFewshot(config, rest);
  EXPECT_EQ(rest.begins, (std::vector<int64_t>{16, 0}));
  EXPECT_EQ(ReadFile(folder_ / "fewshot.json"), bytes);

  // Where a result from before top-5 had an interval is made again, too.
  Json before = ReadJson(folder_ / "fewshot.json");
  before.erase("top5_low");
  WriteJson(folder_ / "fewshot.json", before);
  Killed again(20);
  StopsAfter others;
  EXPECT_THROW(EvalFewshot(config, again), std::runtime_error);
  EvalFewshot(config, others);
  EXPECT_EQ(others.begins, (std::vector<int64_t>{16, 0}));
  EXPECT_EQ(ReadFile(folder_ / "fewshot.json"), bytes);
}

TEST_F(EvalTest, EncodingIntoTheCacheGoesOnWithoutAResultFile) {
  KnnConfig config;
  config.inputs = Inputs();
  config.inputs.run.batch = 3;
  config.k = 2;
  const EvalResult plain = EvalKnn(config, silent_);
  config.inputs.cache = folder_ / "cache";
  StopsAfter stopped(4), rest;
  EXPECT_THROW(EvalKnn(config, stopped), Interrupted);
  EXPECT_EQ(EvalResultToJson(EvalKnn(config, rest)), EvalResultToJson(plain));
  EXPECT_EQ(rest.begins, (std::vector<int64_t>{15, 0}));
  const std::filesystem::directory_iterator files(config.inputs.cache), end;
  EXPECT_EQ(std::distance(files, end), 2);  // of training and test pictures, and nothing beside them
}

// Of two calls that make the same rows, one keeps them.
TEST_F(EvalTest, RowsThatAreBeingMadeElsewhereAreMadeHereToo) {
  struct Nested : Progress {
    void Update(int64_t, double, std::string_view) override {
      if (inside) return;
      inside = true;
      Progress silent;
      score = EvalKnn(config, silent);
    }
    KnnConfig config;
    EvalResult score;
    bool inside = false;
  } nested;
  KnnConfig config;
  config.inputs = Inputs();
  config.inputs.cache = folder_ / "cache";
  config.k = 2;
  nested.config = config;
  const EvalResult outer = EvalKnn(config, nested);
  EXPECT_EQ(EvalResultToJson(outer), EvalResultToJson(nested.score));
}

TEST_F(EvalTest, AFractionOfEachClass) {
  KnnConfig config;
  config.inputs = Inputs();
  config.inputs.fraction = 0.01;
  config.k = 1;
  const EvalResult result = EvalKnn(config, silent_);
  EXPECT_EQ(result.settings["train_images"], 3);
  EXPECT_EQ(result.top1, 100);
}

struct Listening : Progress {
  void Begin(std::string_view, int64_t, std::string_view) override { ++begun; }
  void Warn(std::string_view message) override { warnings.emplace_back(message); }
  std::vector<std::string> warnings;
  int begun = 0;
};

TEST_F(EvalTest, BadPicturesAreCountedNamedAndRefusedUnderStrict) {
  WriteFile(folder_ / "test/red/0.png", "no picture");
  WriteFile(folder_ / "train/red/0.png", "no picture");
  WriteFile(folder_ / "train/blue/3.png", "no picture");
  const auto bad = [&] { return ReadLines(folder_ / "skipped.tsv"); };
  LinearConfig linear;
  linear.inputs = Inputs("linear.json");
  linear.epochs = 1;
  EXPECT_EQ(SkippedOf(EvalLinear(linear, silent_)), 3);
  ASSERT_EQ(bad().size(), 3u);  // one id is that of two pictures
  EXPECT_TRUE(bad()[1].starts_with("blue/3.png\t"));
  EXPECT_TRUE(bad()[2].starts_with("red/0.png\t"));
  std::filesystem::remove(folder_ / "skipped.tsv");

  Listening first, again;
  KnnConfig config;
  config.inputs = Inputs("knn.json");
  config.k = 1;
  const EvalResult result = EvalKnn(config, first);
  EXPECT_EQ(result.images, 11);
  EXPECT_EQ(SkippedOf(result), 3);
  EXPECT_EQ(ReadJson(folder_ / "knn.json")["settings"]["skipped"], 3);
  EXPECT_EQ(bad().size(), 3u);
  ASSERT_EQ(first.warnings.size(), 2u);
  EXPECT_TRUE(first.warnings[0].starts_with("2 of 24 training pictures could not be read, the first is blue/3.png: "));
  EXPECT_TRUE(first.warnings[1].starts_with("1 of 12 test pictures could not be read, the first is red/0.png: "));
  EXPECT_EQ(SkippedOf(EvalKnn(config, again)), 3);
  EXPECT_EQ(again.begun, 0);
  EXPECT_EQ(again.warnings, std::vector<std::string>{
                                Format("3 pictures could not be read, see {}", (folder_ / "skipped.tsv").string())});

  config.inputs.run.strict = true;
  EXPECT_THROW(EvalKnn(config, silent_), Error);  // the result is there
  config.inputs.out.clear();
  EXPECT_THROW(EvalKnn(config, silent_), Error);  // and where it is not
}

TEST_F(EvalTest, ABadPictureOfBothSourcesCountsOnce) {
  WriteFile(folder_ / "test/red/0.png", "no picture");
  KnnConfig config;
  config.inputs = Inputs();
  config.inputs.train = config.inputs.test;
  config.k = 1;
  EXPECT_EQ(SkippedOf(EvalKnn(config, silent_)), 1);
}

TEST_F(EvalTest, BadPicturesAreRememberedWithCachedFeatures) {
  WriteFile(folder_ / "test/red/0.png", "no picture");
  WriteFile(folder_ / "train/blue/3.png", "no picture");
  Listening first, again;
  KnnConfig config;
  config.inputs = Inputs();
  config.inputs.cache = folder_ / "cache";
  config.k = 1;
  EvalKnn(config, first);
  EXPECT_EQ(first.warnings.size(), 2u);
  EXPECT_EQ(SkippedOf(EvalKnn(config, again)), 2);
  EXPECT_EQ(again.begun, 0);
  EXPECT_EQ(again.warnings, first.warnings);
  config.inputs.run.strict = true;
  EXPECT_THROW(EvalKnn(config, silent_), Error);
}

TEST_F(EvalTest, ClassesMustBeKnown) {
  std::filesystem::rename(folder_ / "test/red", folder_ / "test/rad");
  KnnConfig config;
  config.inputs = Inputs();
  try {
    EvalKnn(config, silent_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.text().next.find("red"), std::string::npos);
  }
  config.inputs.test.clear();
  EXPECT_THROW(EvalKnn(config, silent_), UsageError);
}

TEST_F(EvalTest, AWrongTestSetIsFoundBeforeAnythingIsEncoded) {
  std::filesystem::rename(folder_ / "test/red", folder_ / "test/rad");
  const auto refused = [&](auto config, auto&& evaluate) {
    Listening progress;
    config.inputs = Inputs();
    EXPECT_THROW(evaluate(config, progress), Error);
    config.inputs.test = (folder_ / "test/blue").string();  // without classes
    EXPECT_THROW(evaluate(config, progress), Error);
    EXPECT_EQ(progress.begun, 0);
  };
  refused(KnnConfig(), EvalKnn);
  refused(LinearConfig(), EvalLinear);
  refused(FewshotConfig(), EvalFewshot);
  LinearConfig crops;
  crops.crops = true;
  refused(crops, EvalLinear);
}

TEST_F(EvalTest, ClassesAreCheckedBeforeAnythingIsTrained) {
  const std::string train = (folder_ / "train").string(), test = (folder_ / "test").string(),
                    flat = (folder_ / "test/red").string();
  EXPECT_NO_THROW(CheckClasses(train, test));
  EXPECT_THROW(CheckClasses(train, flat), Error);
  EXPECT_THROW(CheckClasses(flat, test), Error);
  std::filesystem::rename(folder_ / "test/red", folder_ / "test/rad");
  EXPECT_THROW(CheckClasses(train, test), Error);
  std::filesystem::remove_all(folder_ / "train/red");
  std::filesystem::remove_all(folder_ / "train/blue");
  EXPECT_THROW(CheckClasses(train, train), Error);
}

TEST_F(EvalTest, WithoutLabelsThereIsNothingToTest) {
  std::filesystem::rename(folder_ / "test/red", folder_ / "flat");
  KnnConfig config;
  config.inputs = Inputs();
  config.inputs.test = (folder_ / "flat").string();
  EXPECT_THROW(EvalKnn(config, silent_), Error);
}

TEST_F(EvalTest, FewshotScoresBalancedDrawsAndSaysWhich) {
  FewshotConfig config;
  config.inputs = Inputs("fewshot.json");
  config.shots = {1, 3};
  config.draws = 4;
  const EvalResult result = EvalFewshot(config, silent_);
  EXPECT_GT(result.top1, 60);
  EXPECT_EQ(result.images, 12);
  EXPECT_EQ(result.classes, 3);
  EXPECT_LE(result.top1_low, result.top1);
  EXPECT_GE(result.top1_high, result.top1);
  const Json& by_shots = result.settings["top1_by_shots"];
  ASSERT_EQ(by_shots["1"]["draws"].size(), 4u);
  EXPECT_DOUBLE_EQ(by_shots["3"]["mean"].get<double>(), result.top1);
  EXPECT_EQ(result.settings["train_images"], 9);

  std::map<std::string, int> per_draw_and_class;
  std::set<std::string> first_draw, all;
  const auto lines = ReadLines(folder_ / "fewshot-images.tsv");
  ASSERT_EQ(lines.size(), 1u + 4 * 3 * 3);
  for (size_t i = 1; i < lines.size(); ++i) {
    const auto fields = Split(lines[i], '\t');
    const std::string id(fields[2]);
    ++per_draw_and_class[std::string(fields[0]) + id.substr(0, id.find('/'))];
    all.insert(id);
    if (fields[0] == "0") first_draw.insert(id);
  }
  EXPECT_EQ(per_draw_and_class.size(), 12u);
  for (const auto& [key, count] : per_draw_and_class) EXPECT_EQ(count, 3) << key;
  EXPECT_EQ(first_draw.size(), 9u);
  EXPECT_GT(all.size(), 9u);  // other draws took others

  const std::string bytes = ReadFile(folder_ / "fewshot.json");
  std::filesystem::remove(folder_ / "fewshot.json");
  EvalFewshot(config, silent_);
  EXPECT_EQ(ReadFile(folder_ / "fewshot.json"), bytes);
  // A result from before top-5 had an interval is made again.
  ASSERT_TRUE(result.top5_range.has_value());
  EXPECT_LE(result.top5_range->first, result.top5);
  EXPECT_GE(result.top5_range->second, result.top5);
  Json before = ReadJson(folder_ / "fewshot.json");
  before.erase("top5_low");
  WriteJson(folder_ / "fewshot.json", before);
  EvalFewshot(config, silent_);
  EXPECT_EQ(ReadFile(folder_ / "fewshot.json"), bytes);
  config.shots = {9};
  EXPECT_THROW(EvalFewshot(config, silent_), UsageError);  // a class has 8
  config.shots = {};
  EXPECT_THROW(EvalFewshot(config, silent_), UsageError);
}

TEST_F(EvalTest, FewshotCountsThePicturesThatCouldBeRead) {
  WriteFile(folder_ / "train/red/0.png", "no picture");
  FewshotConfig config;
  config.inputs = Inputs();
  config.shots = {8};
  config.draws = 2;
  EXPECT_EQ(EvalFewshot(config, silent_).settings["train_images"], 23);
}

TEST(ScoresByMeans, AreCosinesWithTheMeansOfUnitRows) {
  const Tensor rows = at::tensor({10.0, 0.0, 0.0, 1.0, 0.0, 3.0}).view({3, 2}),
               labels = at::tensor({0, 0, 1}, at::kLong);
  const Tensor scores = ScoresByMeans(rows, labels, at::tensor({2.0, 2.0, 0.0, 5.0}).view({2, 2}), 3);
  EXPECT_TRUE(at::allclose(
      scores, at::tensor({1.0, std::sqrt(0.5), 0.0, std::sqrt(0.5), 1.0, 0.0}).view({2, 3}).to(scores.scalar_type()),
      1e-6, 1e-7));
}

}  // namespace
}  // namespace genview
