#include "genview/pretrain/pretrain.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>

#include "genview/base/error.h"
#include "genview/data/masks.h"
#include "genview/data/shapes.h"
#include "genview/data/source.h"
#include "genview/foreground/pca.h"
#include "genview/image/codecs.h"
#include "genview/models/encoder.h"
#include "genview/pretrain/pair_weigher.h"
#include "genview/records/records.h"
#include "genview/tensor/safetensors.h"
#include "genview/train/checkpoint.h"
#include "genview/train/event_log.h"
#include "tests/temporary_folder.h"

namespace genview {
namespace {

struct Killed {};

// Stops, or dies, after so many steps.
class Until : public Progress {
 public:
  explicit Until(int64_t stop = -1, int64_t die = -1) : stop_(stop), die_(die) {}
  void Update(int64_t done, double, std::string_view) override {
    done_ = done;
    if (done_ == die_) throw Killed();
  }
  bool Stopped() const override { return stop_ >= 0 && done_ + 1 >= stop_; }  // asked before the update is told
  void Warn(std::string_view message) override { warnings.emplace_back(message); }

  int64_t done() const { return done_; }
  std::vector<std::string> warnings;

 private:
  int64_t stop_, die_, done_ = 0;
};

class PretrainTest : public testing::Test {
 protected:
  // 5 steps an epoch, 2 epochs.
  PretrainConfig Config(const std::string& name, MethodKind method = MethodKind::kMocoV2) const {
    PretrainConfig config;
    config.data = "shapes:count=42,size=16,seed=3";
    config.out = (folder_ / name).string();
    config.method = method;
    config.width = 2.0 / 64;
    config.small_stem = true;
    config.size = 12;
    config.epochs = 2;
    config.batch = 8;
    config.queue = 16;
    config.projector_output = 8;
    config.log_steps = 3;
    config.checkpoint_steps = 2;
    config.run.threads = 2;
    config.run.precision = Precision::kFp32;
    return config;
  }
  std::string Bytes(const std::string& name, const std::string& file) const { return ReadFile(folder_ / name / file); }
  // Rows of the log without what the clock says.
  std::vector<Json> Rows(const std::string& name) const {
    std::vector<Json> rows;
    for (const std::string& line : ReadLines(folder_ / name / "log.jsonl")) {
      Json row = Json::parse(line);
      row.erase("images_per_s");
      row.erase("data_wait");
      rows.push_back(row);
    }
    return rows;
  }
  void ExpectSameRun(const std::string& a, const std::string& b) const {
    for (const char* file : {"encoder.safetensors", "summary.json", "checkpoints/step-0000000010.safetensors"}) {
      EXPECT_EQ(Bytes(a, file), Bytes(b, file)) << a << " and " << b << ": " << file;
    }
    EXPECT_EQ(Rows(a), Rows(b)) << a << " and " << b;
  }

  const TemporaryFolder place_;
  const Path folder_ = place_.path();
};

// Pictures that are all alike are not told apart.
TEST_F(PretrainTest, ACollapseIsWarnedOfOrEndsTheTraining) {
  for (int i = 0; i < 42; ++i) WriteFile(folder_ / "black" / Format("{}.png", i), EncodePng(Image(16, 16)));
  PretrainConfig config = Config("run");
  config.data = (folder_ / "black").string();
  config.stop_when_collapsed = true;
  Until progress;
  try {
    Pretrain(config, progress);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.text().what.find("collapsed"), std::string::npos);
    EXPECT_NE(error.text().where.find("run, step 6"), std::string::npos) << error.text().where;
  }
  EXPECT_TRUE(progress.warnings.empty());
  config.stop_when_collapsed = false;  // goes on from its checkpoint
  EXPECT_TRUE(Pretrain(config, progress).collapsed);
  ASSERT_EQ(progress.warnings.size(), 1u);
  EXPECT_NE(progress.warnings[0].find("collapsed"), std::string::npos);
}

TEST_F(PretrainTest, AWarmUpThatDoesNotEndIsWarnedOf) {
  PretrainConfig config = Config("run");
  config.lr = 0.1;
  config.warmup_epochs = 5;
  Until progress;
  Pretrain(config, progress);
  ASSERT_EQ(progress.warnings.size(), 1u);
  EXPECT_NE(
      progress.warnings[0].find("the warm-up of 5 epochs does not end before the training of 2: the rate rises to "
                                "0.036 of 0.1"),
      std::string::npos)
      << progress.warnings[0];
  config = Config("other");
  config.warmup_epochs = 1;
  Until silent;
  Pretrain(config, silent);
  EXPECT_TRUE(silent.warnings.empty());
}

TEST_F(PretrainTest, LeavesWhatItPromises) {
  Until progress;
  PretrainConfig config = Config("run");
  config.knn_epochs = 1;
  config.knn_images = 30;
  const PretrainSummary summary = Pretrain(config, progress);
  EXPECT_EQ(summary.steps, 10);
  EXPECT_EQ(summary.images, 42);
  EXPECT_TRUE(std::isfinite(summary.loss));
  EXPECT_GE(summary.knn_top1, 0);
  EXPECT_TRUE(progress.warnings.empty());
  EXPECT_EQ(ListCheckpoints(folder_ / "run/checkpoints").size(), 1u);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run/skipped.tsv"));
  std::vector<int64_t> steps;
  for (const Json& row : Rows("run")) steps.push_back(row["step"]);
  EXPECT_EQ(steps,
            (std::vector<int64_t>{3, 5, 6, 9, 10, 10}));  // every third, the neighbours after each epoch, the last
  const std::string events = Bytes("run", kEventsFile);
  EXPECT_EQ(EventsUpTo(events, 10), events.size());
  const WeightMap weights = ReadSafetensors(folder_ / "run/encoder.safetensors");
  for (const auto& [name, tensor] : weights.tensors()) EXPECT_TRUE(name.starts_with("encoder.")) << name;
  const auto encoder = Encoder::Open(folder_ / "run/encoder.safetensors");
  EXPECT_EQ(encoder->embedding_width(), 16);
  EXPECT_EQ(encoder->preprocess().size, 12);
  EXPECT_EQ(Encoder::Open(folder_ / "run/checkpoints/step-0000000010.safetensors")->embedding_width(), 16);
}

TEST_F(PretrainTest, AFinishedRunIsNotRunAgain) {
  Until progress, never(-1, 1);
  const PretrainSummary first = Pretrain(Config("run"), progress);
  const PretrainSummary again = Pretrain(Config("run"), never);
  EXPECT_EQ(PretrainSummaryToJson(first), PretrainSummaryToJson(again));
}

TEST_F(PretrainTest, LoaderThreadsDoNotMatter) {
  for (const int64_t threads : {1, 2, 5}) {
    PretrainConfig config = Config(Format("threads{}", threads));
    config.run.threads = threads;
    Until progress;
    Pretrain(config, progress);
  }
  ExpectSameRun("threads1", "threads2");
  ExpectSameRun("threads1", "threads5");
}

TEST_F(PretrainTest, KilledAfterAnyStepEndsTheSame) {
  PretrainConfig config = Config("whole");
  config.knn_epochs = 1;
  config.knn_images = 20;
  Until progress;
  Pretrain(config, progress);
  for (int64_t step = 1; step <= 10; ++step) {
    const std::string name = Format("killed{}", step);
    config.out = (folder_ / name).string();
    Until dies(-1, step);
    EXPECT_THROW(Pretrain(config, dies), Killed);
    Until lives;
    Pretrain(config, lives);
    ExpectSameRun("whole", name);
  }
}

TEST_F(PretrainTest, KilledBeforeTheCheckpointBeforeIsRemovedEndsTheSame) {
  Until dies(-1, 9), lives, again;
  EXPECT_THROW(Pretrain(Config("run"), dies), Killed);
  const auto before = ListCheckpoints(folder_ / "run/checkpoints").back();
  const std::string bytes = ReadFile(before.second);
  Pretrain(Config("run"), lives);
  WriteFile(before.second, bytes);
  std::filesystem::remove(folder_ / "run/summary.json");
  Pretrain(Config("run"), again);
  const auto left = ListCheckpoints(folder_ / "run/checkpoints");
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].first, 10);
}

TEST_F(PretrainTest, KilledAgainAndAgainEndsTheSame) {
  for (const MethodKind method : {MethodKind::kMocoV2, MethodKind::kSimClr, MethodKind::kSimSiam}) {
    const std::string whole = "whole-" + EnumName(method), often = "often-" + EnumName(method);
    Until progress;
    Pretrain(Config(whole, method), progress);
    for (const int64_t step : {1, 4, 5, 7, 9}) {
      Until dies(-1, step);
      EXPECT_THROW(Pretrain(Config(often, method), dies), Killed);
    }
    Until lives;
    Pretrain(Config(often, method), lives);
    ExpectSameRun(whole, often);
  }
}

TEST_F(PretrainTest, AQueuePerViewAndARisingAverageGoOnAfterAKill) {
  const auto with = [&](const std::string& name) {
    PretrainConfig config = Config(name);
    config.symmetric = true;
    config.ema = 0.9;
    config.ema_final = 0.99;
    return config;
  };
  Until progress;
  Pretrain(with("whole"), progress);
  for (const int64_t step : {1, 4, 7, 9}) {
    Until dies(-1, step);
    EXPECT_THROW(Pretrain(with("often"), dies), Killed);
  }
  Until lives;
  Pretrain(with("often"), lives);
  ExpectSameRun("whole", "often");
}

TEST_F(PretrainTest, ShuffledKeysGoOnAfterAKill) {
  const auto with = [&](const std::string& name, bool shuffle) {
    PretrainConfig config = Config(name);
    config.accumulate = 2;
    config.shuffle_bn = shuffle;
    return config;
  };
  Until progress;
  Pretrain(with("whole", true), progress);
  Pretrain(with("plain", false), progress);
  EXPECT_NE(Bytes("whole", "encoder.safetensors"), Bytes("plain", "encoder.safetensors"));
  for (const int64_t step : {1, 4, 7, 9}) {
    Until dies(-1, step);
    EXPECT_THROW(Pretrain(with("often", true), dies), Killed);
  }
  Until lives;
  Pretrain(with("often", true), lives);
  ExpectSameRun("whole", "often");
}

TEST_F(PretrainTest, AStopSavesAndGoesOnFromThere) {
  Until progress;
  Pretrain(Config("whole"), progress);
  Until stopped(7);
  EXPECT_THROW(Pretrain(Config("run"), stopped), Interrupted);
  EXPECT_EQ(LatestCheckpoint(folder_ / "run/checkpoints")->path.filename(), "step-0000000007.safetensors");
  Until lives;
  Pretrain(Config("run"), lives);
  ExpectSameRun("whole", "run");
}

TEST_F(PretrainTest, ADamagedCheckpointIsPassedOver) {
  Until progress;
  Pretrain(Config("whole"), progress);
  Until dies(-1, 7);
  EXPECT_THROW(Pretrain(Config("run"), dies), Killed);
  WriteFile(folder_ / "run/checkpoints/step-0000000006.safetensors", "torn");
  Until lives;
  Pretrain(Config("run"), lives);
  ASSERT_EQ(lives.warnings.size(), 1u);
  EXPECT_NE(lives.warnings[0].find("passed over"), std::string::npos);
  ExpectSameRun("whole", "run");
}

TEST_F(PretrainTest, OtherSettingsBeginAnewAndLoseNothing) {
  Until dies(-1, 7), progress;
  EXPECT_THROW(Pretrain(Config("run"), dies), Killed);
  const std::string log = Bytes("run", "log.jsonl"), events = Bytes("run", kEventsFile);
  PretrainConfig other = Config("run"), clean = Config("clean");
  other.lr = clean.lr = 0.5;
  Pretrain(other, progress);
  Until silent;
  Pretrain(clean, silent);
  ASSERT_FALSE(progress.warnings.empty());
  EXPECT_NE(progress.warnings[0].find("begins anew"), std::string::npos);
  ExpectSameRun("clean", "run");
  int64_t aside = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "run")) {
    if (!entry.path().filename().string().starts_with("checkpoints-")) continue;
    ++aside;
    EXPECT_EQ(ReadFile(entry.path() / "log.jsonl"), log);
    EXPECT_EQ(ReadFile(entry.path() / kEventsFile), events);
    EXPECT_TRUE(LatestCheckpoint(entry.path()).has_value());
  }
  EXPECT_EQ(aside, 1);
}

// Checkpoints are large, and not all that a finished run is kept for.
TEST_F(PretrainTest, AResultWithoutCheckpointsIsNotLostEither) {
  Until finishes, progress;
  Pretrain(Config("run"), finishes);
  const std::string encoder = Bytes("run", "encoder.safetensors");
  std::filesystem::remove_all(folder_ / "run/checkpoints");
  PretrainConfig other = Config("run");
  other.lr = 0.01;
  Pretrain(other, progress);
  ASSERT_FALSE(progress.warnings.empty());
  EXPECT_NE(progress.warnings[0].find("begins anew"), std::string::npos);
  EXPECT_NE(Bytes("run", "encoder.safetensors"), encoder);
  int64_t kept = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "run")) {
    if (!entry.path().filename().string().starts_with("checkpoints-")) continue;
    kept += ReadFile(entry.path() / "encoder.safetensors") == encoder ? 1 : 0;
  }
  EXPECT_EQ(kept, 1);
}

// Nor is an encoder that somebody else has put there, with or without checkpoints of this run beside it.
TEST_F(PretrainTest, AnEncoderOfAnotherIsMovedAside) {
  Until finishes;
  Pretrain(Config("whole"), finishes);
  Until dies(-1, 7);
  EXPECT_THROW(Pretrain(Config("cut"), dies), Killed);
  PretrainConfig other = Config("other");
  other.lr = 0.01;
  Until silent;
  Pretrain(other, silent);
  const std::string foreign = Bytes("other", "encoder.safetensors");
  for (const auto& [name, bytes] :
       {std::pair("empty", foreign), std::pair("cut", foreign), std::pair("words", std::string("no tensors"))}) {
    WriteFile(folder_ / name / "encoder.safetensors", bytes);
    Until progress;
    Pretrain(Config(name), progress);
    EXPECT_EQ(progress.warnings.size(), 1u) << name;
    ExpectSameRun("whole", name);
    int64_t kept = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / name)) {
      if (!entry.path().filename().string().starts_with("checkpoints-")) continue;
      kept += ReadFile(entry.path() / "encoder.safetensors") == bytes ? 1 : 0;
    }
    EXPECT_EQ(kept, 1) << name;
  }
}

// A run that begins anew takes away what it would have to begin with.
TEST_F(PretrainTest, DoesNotBeginWithWhatIsItsOwn) {
  Until progress;
  Pretrain(Config("run"), progress);
  PretrainConfig config = Config("run");
  for (const char* file : {"encoder.safetensors", "checkpoints/step-0000000010.safetensors"}) {
    config.init = (folder_ / "run" / file).string();
    EXPECT_THROW(Pretrain(config, progress), UsageError) << file;
    EXPECT_TRUE(std::filesystem::exists(config.init)) << file;
  }
  config.out = (folder_ / "other").string();
  EXPECT_EQ(Pretrain(config, progress).steps, 10);
}

// A finished, then B began and stopped: what is there is B's, and A is made again when it is asked for.
TEST_F(PretrainTest, ARunThatBeginsAnewLeavesNoOldResults) {
  Until finishes, stops(4), back, silent;
  Pretrain(Config("run"), finishes);
  PretrainConfig other = Config("run");
  other.lr = 0.5;
  EXPECT_THROW(Pretrain(other, stops), Interrupted);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run/summary.json"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run/encoder.safetensors"));
  Pretrain(Config("run"), back);
  Pretrain(Config("clean"), silent);
  ExpectSameRun("clean", "run");
}

TEST_F(PretrainTest, AnotherMachineIsNoReasonToBeginAgain) {
  Until stops(4), goes_on, silent;
  EXPECT_THROW(Pretrain(Config("run"), stops), Interrupted);
  PretrainConfig config = Config("run");
  config.run.device = DeviceChoice::kCpu;
  config.run.batch = 7;
  config.run.threads = 1;
  config.run.strict = true;
  Pretrain(config, goes_on);
  EXPECT_TRUE(goes_on.warnings.empty()) << goes_on.warnings[0];
  Pretrain(Config("whole"), silent);
  ExpectSameRun("whole", "run");
}

TEST_F(PretrainTest, SaysTheLossFromTheFirstStepOn) {
  struct Notes : Progress {
    void Update(int64_t, double, std::string_view note) override { notes.emplace_back(note); }
    std::vector<std::string> notes;
  } progress;
  PretrainConfig config = Config("run", MethodKind::kSimClr);
  config.log_steps = 100;
  Pretrain(config, progress);
  ASSERT_EQ(progress.notes.size(), 10u);
  EXPECT_TRUE(progress.notes[0].starts_with("epoch 1, loss ")) << progress.notes[0];
  for (const std::string& note : progress.notes) EXPECT_FALSE(note.ends_with("loss 0")) << note;
  // From the first row of the log on the spread is beside it: of 8 numbers a row has the deviation times their root.
  EXPECT_EQ(progress.notes[8].find("spread"), std::string::npos) << progress.notes[8];
  const Json row = Rows("run").back();
  EXPECT_NEAR(row["relative_std"].get<double>(), std::sqrt(8.0) * row["feature_std"].get<double>(), 1e-9);
  EXPECT_TRUE(progress.notes[9].ends_with(Format(", spread {:.2f}", row["relative_std"].get<double>())))
      << progress.notes[9];
}

TEST_F(PretrainTest, AccumulationMakesTheSameNumberOfSteps) {
  PretrainConfig config = Config("run", MethodKind::kSimSiam);
  config.accumulate = 2;
  Until progress;
  EXPECT_EQ(Pretrain(config, progress).steps, 10);
}

TEST_F(PretrainTest, PartsOfTwoPairsAreNoCollapse) {
  PretrainConfig config = Config("run");
  config.accumulate = 4;
  Until progress;
  const PretrainSummary summary = Pretrain(config, progress);
  EXPECT_GT(summary.effective_rank, 1.5);
  EXPECT_FALSE(summary.collapsed);
  EXPECT_EQ(progress.warnings, std::vector<std::string>{});
}

TEST_F(PretrainTest, BadPicturesAreLeftOut) {
  const auto source = OpenSource("shapes:count=20,size=16");
  for (int64_t i = 0; i < 20; ++i) {
    WriteFile(folder_ / Format("pictures/{:02d}.png", i), i == 7 ? std::string("no picture") : *source->ReadBytes(i));
  }
  PretrainConfig config = Config("run");
  config.data = (folder_ / "pictures").string();
  config.batch = 4;
  Until progress;
  EXPECT_EQ(Pretrain(config, progress).skipped, 1);
  EXPECT_NE(Bytes("run", "skipped.tsv").find("07.png"), std::string::npos);
  config.run.strict = true;
  EXPECT_THROW(Pretrain(config, progress), Error);  // the finished run has left it out
  config.out = (folder_ / "strict").string();
  EXPECT_THROW(Pretrain(config, progress), Error);

  // One that was begun without --strict does not end with it.
  config.out = (folder_ / "begun").string();
  config.run.strict = false;
  Until stops(8), goes_on;
  EXPECT_THROW(Pretrain(config, stops), Interrupted);
  config.run.strict = true;
  EXPECT_THROW(Pretrain(config, goes_on), Error);
  EXPECT_EQ(goes_on.done(), 0);
}

TEST_F(PretrainTest, AHopelessRateIsNamed) {
  PretrainConfig config = Config("run", MethodKind::kSimClr);
  config.lr = 1e30;
  Until progress;
  try {
    Pretrain(config, progress);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.text().what.find("no longer a number"), std::string::npos);
    EXPECT_NE(error.text().next.find("pretrain.lr"), std::string::npos);
  }
}

// The statistics of norms overflow while the loss is still a number. Such a checkpoint could not be read again, nor
// such an encoder.
TEST_F(PretrainTest, WhatIsBeyondAllNumbersIsNotSaved) {
  PretrainConfig config = Config("run");
  config.lr = 1000;
  config.weight_decay = 1;
  config.checkpoint_steps = 1;
  std::vector<std::string> said;
  for (int call = 0; call < 2; ++call) {
    Until progress;
    try {
      Pretrain(config, progress);
      FAIL();
    } catch (const Error& error) {
      said.push_back(error.text().what);
      EXPECT_NE(error.text().next.find("pretrain.lr"), std::string::npos) << error.text().next;
    }
  }
  EXPECT_EQ(said[0], said[1]);
  EXPECT_NE(said[0].find("no longer a number"), std::string::npos) << said[0];
  config.out = (folder_ / "short").string();  // its last loss is a number
  config.epochs = 1;
  config.schedule = ScheduleKind::kConstant;
  Until progress;
  EXPECT_THROW(Pretrain(config, progress), Error);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "short/encoder.safetensors"));
}

TEST_F(PretrainTest, TooFewPicturesAreNamed) {
  PretrainConfig config = Config("run");
  config.batch = 64;
  config.queue = 64;
  Until progress;
  EXPECT_THROW(Pretrain(config, progress), UsageError);
  config.data.clear();
  EXPECT_THROW(Pretrain(config, progress), UsageError);
}

// A checkpoint of this program as the judge of pairs, and a direction for its tokens.
TEST_F(PretrainTest, QualityWeightsReachTheLoss) {
  Until progress;
  Pretrain(Config("judge"), progress);
  ForegroundModel model;
  model.component = NormalTensor(Seed(1), {16});
  WriteForegroundModel(folder_ / "fg.safetensors", model);
  const auto weighted = [&](const std::string& name, double gamma) {
    PretrainConfig config = Config(name);
    config.normalisation = Normalisation::kClip;  // another than the judge's
    config.quality.enabled = gamma >= 0;
    config.quality.gamma = std::max(0.0, gamma);
    config.quality.encoder = (folder_ / "judge/encoder.safetensors").string();
    config.quality.foreground = (folder_ / "fg.safetensors").string();
    Until silent;
    return Pretrain(config, silent).loss;
  };
  const double plain = weighted("plain", -1);
  EXPECT_NEAR(weighted("gamma0", 0), plain, 1e-4 * std::abs(plain));
  weighted("gamma3", 3);
  EXPECT_GT(Rows("gamma3")[0]["weight_std"].get<double>(), 1e-3);
  EXPECT_FALSE(Rows("plain")[0].contains("weight_std"));
  EXPECT_NE(Bytes("plain", "encoder.safetensors"), Bytes("gamma3", "encoder.safetensors"));
}

// A number of generated views per picture: other drawings of the shape.
class GeneratedTest : public PretrainTest {
 protected:
  static constexpr int64_t kPictures = 42, kEach = 2;

  GeneratedTest() {
    const auto pictures = OpenSource(Format("shapes:count={},size=16,seed=3", kPictures));
    std::string manifest;
    for (int64_t i = 0; i < kPictures; ++i) {
      for (int64_t k = 0; k < kEach; ++k) {
        const auto other = OpenSource(Format("shapes:count={},size=16,seed={}", kPictures, 4 + k));
        ViewRow row;
        row.id = pictures->item(i).id;
        row.index = k;
        row.noise_level = 100 * (k + 1);
        row.file = Format("images/{:06d}-{}.png", i, k);
        WriteFile(folder_ / "views" / row.file, i == 5 ? std::string("no picture") : *other->ReadBytes(i));
        manifest += ViewRowToJson(row).dump() + "\n";
      }
    }
    WriteFile(folder_ / "views/manifest.jsonl", manifest);
  }

  PretrainConfig Generated(const std::string& name) const {
    PretrainConfig config = Config(name);
    config.pair.views = (folder_ / "views").string();
    config.pair.source = PairSource::kGenerated;
    config.pair.probability = 0.5;
    return config;
  }
  PretrainConfig Cached(const std::string& name) {
    if (!std::filesystem::exists(folder_ / "fg.safetensors")) {
      Until progress;
      Pretrain(Config("judge"), progress);
      ForegroundModel model;
      model.component = NormalTensor(Seed(1), {16});
      WriteForegroundModel(folder_ / "fg.safetensors", model);
    }
    PretrainConfig config = Generated(name);
    config.quality.enabled = true;
    config.quality.gamma = 3;
    config.quality.encoder = (folder_ / "judge/encoder.safetensors").string();
    config.quality.foreground = (folder_ / "fg.safetensors").string();
    config.quality.features = QualityFeatures::kCached;
    return config;
  }
};

TEST_F(GeneratedTest, ViewsOfOtherPicturesAreRefused) {
  Until progress;
  PretrainConfig config = Generated("other");
  config.data = (folder_ / "flat").string();  // the same pictures under other ids
  const auto source = OpenSource(Config("x").data);
  for (int64_t i = 0; i < source->size(); ++i) WriteFile(folder_ / Format("flat/{}.png", i), *source->ReadBytes(i));
  EXPECT_THROW(Pretrain(config, progress), UsageError);
}

TEST_F(GeneratedTest, TheyTakePart) {
  Until progress;
  PretrainConfig config = Generated("half");
  Pretrain(config, progress);
  double share = 0;
  for (const Json& row : Rows("half"))
    share += row["generated"].get<double>() / static_cast<double>(Rows("half").size());
  EXPECT_GT(share, 0.2);
  EXPECT_LT(share, 0.8);
  config.out = (folder_ / "extra").string();
  config.pair.source = PairSource::kExtraData;
  EXPECT_EQ(Pretrain(config, progress).images, kPictures * (1 + kEach));
}

TEST_F(GeneratedTest, CachedTokensHoldEveryPictureAndView) {
  Until progress;
  Pretrain(Cached("run"), progress);
  EXPECT_GT(Rows("run")[0]["weight_std"].get<double>(), 1e-3);
  const Tensor tokens = ReadSafetensors(folder_ / "run/quality-tokens.safetensors").At("tokens").to(at::kFloat);
  EXPECT_EQ(tokens.sizes(), (at::IntArrayRef{kPictures * (1 + kEach), 4, 16}));
  const Tensor norms = tokens.flatten(1).norm(2, 1);
  const auto views = GeneratedViews::Open(folder_ / "views");
  const std::string unreadable = OpenSource(Format("shapes:count={},size=16,seed=3", kPictures))->item(5).id;
  for (int64_t row = 0; row < norms.size(0); ++row) {
    const bool lost = row >= kPictures && views->rows()[static_cast<size_t>(row - kPictures)].id == unreadable;
    EXPECT_EQ(norms[row].item<float>() == 0, lost) << row;
  }
}

TEST_F(GeneratedTest, CachedQualityGoesOnAfterAKill) {
  Until progress;
  Pretrain(Cached("whole"), progress);
  const std::string found = Bytes("whole", "quality-tokens.safetensors");
  for (const size_t length : {size_t{0}, size_t{30}, found.size() / 2, found.size() - 1}) {
    const std::string name = Format("cut{}", length);
    WriteFile(folder_ / name / ".quality-tokens.safetensors.growing", std::string_view(found).substr(0, length));
    Until again;
    Pretrain(Cached(name), again);
    EXPECT_EQ(Bytes(name, "quality-tokens.safetensors"), found) << length;
    ExpectSameRun("whole", name);
  }
}

TEST_F(GeneratedTest, TokensOfOtherInputsAreReplacedWhereTheyAreTheRuns) {
  Until progress;
  PretrainConfig config = Cached("run");
  config.quality.cache = (folder_ / "shared.safetensors").string();
  Pretrain(config, progress);
  const std::string with_views = ReadFile(config.quality.cache);
  config.out = (folder_ / "plain").string();
  config.pair.source = PairSource::kAugment;
  EXPECT_THROW(Pretrain(config, progress), UsageError);
  EXPECT_EQ(ReadFile(config.quality.cache), with_views);
  PretrainConfig mistaken = config;
  mistaken.quality.cache = config.quality.encoder;
  const std::string encoder = ReadFile(config.quality.encoder);
  EXPECT_THROW(Pretrain(mistaken, progress), UsageError);
  EXPECT_EQ(ReadFile(config.quality.encoder), encoder);
  config.quality.replace_cache = true;
  Pretrain(config, progress);
  EXPECT_EQ(ReadSafetensors(config.quality.cache).At("tokens").size(0), kPictures);
  EXPECT_NE(ReadFile(config.quality.cache), with_views);
}

// Views that are the whole pictures, in the encoder's own colours: the kept maps are then what online judging computes.
TEST_F(GeneratedTest, CachedIsOnlineWhereCropsAreWhole) {
  Until progress;
  PretrainConfig config = Cached("run");
  const auto pictures = OpenSource(config.data);
  const auto views = GeneratedViews::Open(folder_ / "views");
  const auto pixels = [&](const std::shared_ptr<const ImageSource>& source, const std::vector<int64_t>& indices) {
    SkippedLog skipped;
    EncodeLoader loader(source, indices, Encoder::Open(config.quality.encoder)->preprocess(), 5, 1, skipped, true);
    EncodeBatch loaded;
    EXPECT_TRUE(loader.Next(loaded));
    return loaded.pixels;
  };
  PairBatch batch;
  std::vector<int64_t> rows;  // the first view of each of five pictures
  for (int64_t row = 0; row < 5 * kEach; row += kEach) {
    rows.push_back(row);
    int64_t k = 0;
    while (pictures->item(k).id != views->rows()[static_cast<size_t>(row)].id) ++k;
    batch.indices.push_back(k);
  }
  batch.view1 = pixels(pictures, batch.indices);
  batch.view2 = pixels(ViewsAsSource(views), rows);
  batch.generated_view.assign(5, 0);
  batch.crops1.resize(5);
  batch.crops2.assign(5, {.generated = true});
  const auto weigh = [&](QualityFeatures features) {
    config.quality.features = features;
    const auto weigher = MakePairWeigher(config, pictures, views, at::kCPU, at::kFloat);
    weigher->Prepare(progress);
    return weigher->Weigh(batch);
  };
  const Tensor online = weigh(QualityFeatures::kOnline), cached = weigh(QualityFeatures::kCached);
  EXPECT_GT(online.std().item<float>(), 0.01);
  EXPECT_LT((online - cached).abs().max().item<float>(), 0.01);
}

TEST_F(GeneratedTest, TheLogSaysWhatEitherKindOfPairsWeighs) {
  Until progress;
  const PretrainSummary summary = Pretrain(Cached("whole"), progress);
  double generated = 0, augmented = 0;
  for (const Json& row : Rows("whole")) {
    const double share = row["generated"], of_generated = row.value("weight_generated", 0.0),
                 of_augmented = row.value("weight_augmented", 0.0);
    EXPECT_NEAR(share * of_generated + (1 - share) * of_augmented, 1, 1e-5);  // of all pairs it is 1
    generated += of_generated;
    augmented += of_augmented;
  }
  EXPECT_GT(std::abs(generated - augmented), 1e-3);
  const Json weights = ReadJson(folder_ / "whole/summary.json")["weights"];
  EXPECT_EQ(weights["generated"]["pairs"].get<int64_t>() + weights["augmented"]["pairs"].get<int64_t>(),
            80);  // 10 steps of 8
  EXPECT_NEAR(weights["generated"]["sum"].get<double>() + weights["augmented"]["sum"].get<double>(), 80, 1e-4);
  std::vector<std::string> levels;
  for (const auto& [level, weight] : weights["levels"].items()) levels.push_back(level);
  EXPECT_EQ(levels, (std::vector<std::string>{"100", "200"}));
  EXPECT_EQ(weights["levels"]["100"]["pairs"].get<int64_t>() + weights["levels"]["200"]["pairs"].get<int64_t>(),
            weights["generated"]["pairs"]);
  for (const int64_t step : {1, 4, 7}) {
    Until dies(-1, step);
    EXPECT_THROW(Pretrain(Cached("died"), dies), Killed);
  }
  Until lives;
  Pretrain(Cached("died"), lives);
  ExpectSameRun("whole", "died");

  // How cached weights rank pairs beside online ones: of 40 pairs of an epoch, the generated ones also alone.
  EXPECT_EQ(summary.agreement.pairs, 40);
  EXPECT_GT(summary.agreement.generated, 10);
  EXPECT_LT(summary.agreement.generated, 30);
  EXPECT_LT(std::abs(summary.agreement.spearman), 1);
  Until never(-1, 1);
  EXPECT_EQ(PretrainSummaryToJson(Pretrain(Cached("whole"), never)), PretrainSummaryToJson(summary));
}

// Likeness the wrong way round.
class Contrary final : public PairWeigher {
 public:
  Contrary(const PretrainConfig& config, const PairWeigher& real)
      : PairWeigher(config.quality, at::kCPU, at::kFloat), real_(real) {}
  PairSimilarity Compare(const PairBatch& batch) const override {
    const PairSimilarity similarity = real_.Compare(batch);
    return {.foreground = similarity.background, .background = similarity.foreground};
  }

 private:
  const PairWeigher& real_;
};

TEST_F(GeneratedTest, AgreementIsARankCorrelationWithOnlineWeights) {
  Until progress;
  PretrainConfig config = Resolved(Cached("run"));
  config.quality.features = QualityFeatures::kOnline;
  const auto pictures = OpenSource(config.data);
  const auto views = GeneratedViews::Open(folder_ / "views");
  const auto online = MakePairWeigher(config, pictures, views, at::kCPU, at::kFloat);
  const auto measure = [&](const PairWeigher& weigher) {
    return MeasureWeightAgreement(config, weigher, pictures, views, nullptr, at::kCPU, at::kFloat, progress);
  };
  const WeightAgreement same = measure(*online);
  EXPECT_EQ(progress.warnings, std::vector<std::string>{});
  const WeightAgreement contrary = measure(Contrary(config, *online));
  ASSERT_EQ(progress.warnings.size(), 1u);
  EXPECT_NE(progress.warnings[0].find("hardly rank pairs"), std::string::npos) << progress.warnings[0];
  EXPECT_EQ(same.pairs, 40);
  EXPECT_NEAR(same.spearman, 1, 1e-12);
  EXPECT_NEAR(same.generated_spearman, 1, 1e-12);
  EXPECT_NEAR(contrary.spearman, -1, 1e-12);
  config.pair.probability = 0;
  EXPECT_EQ(measure(*online).generated, 0);
}

TEST_F(GeneratedTest, AmongAKindWeightsHaveTheMeanOne) {
  Until progress;
  for (const QualityFeatures features : {QualityFeatures::kCached, QualityFeatures::kOnline}) {
    PretrainConfig config = Cached("kind-" + EnumName(features));
    config.quality.features = features;
    config.quality.among = QualityAmong::kKind;
    Pretrain(config, progress);
    double spread = 0;
    for (const Json& row : Rows("kind-" + EnumName(features))) {
      EXPECT_NEAR(row["weight_generated"].get<double>(), 1, 1e-5);
      EXPECT_NEAR(row["weight_augmented"].get<double>(), 1, 1e-5);
      spread += row["weight_std"].get<double>();
    }
    EXPECT_GT(spread, 1e-3);  // and yet the pairs of a kind do not weigh alike
  }
}

// Says of each pair what its picture's index makes of it.
class ByIndex final : public PairWeigher {
 public:
  explicit ByIndex(const PretrainConfig& config) : PairWeigher(config.quality, at::kCPU, at::kFloat) {}
  PairSimilarity Compare(const PairBatch& batch) const override {
    const Tensor x = at::tensor(batch.indices, at::kLong).to(at::kFloat);
    return {.foreground = at::sin(x), .background = at::cos(x)};
  }
};

// One of several processes, of which it knows what all have given.
class OneOfSeveral final : public TensorGroup {
 public:
  OneOfSeveral(int64_t rank, int64_t size, std::vector<Tensor>* given) : rank_(rank), size_(size), given_(given) {}
  int64_t rank() const override { return rank_; }
  int64_t size() const override { return size_; }
  Tensor Gather(const Tensor& mine) override {
    given_->resize(static_cast<size_t>(size_), at::zeros_like(mine));
    (*given_)[static_cast<size_t>(rank_)] = mine;
    return at::stack(*given_);
  }

 private:
  int64_t rank_, size_;
  std::vector<Tensor>* given_;
};

TEST_F(GeneratedTest, PartsOfABatchAreWeighedTogether) {
  PretrainConfig config = Resolved(Cached("run"));
  config.quality.gamma = 2;
  std::vector<PairBatch> parts(3);
  std::vector<int64_t> indices, views;
  for (int64_t i = 0; i < 12; ++i) {
    indices.push_back(i);
    views.push_back(i % 3 - 1);
    parts[static_cast<size_t>(i / 4)].indices.push_back(i);
    parts[static_cast<size_t>(i / 4)].generated_view.push_back(views.back());
  }
  for (const QualityAmong among : {QualityAmong::kBatch, QualityAmong::kKind}) {
    config.quality.among = among;
    const ByIndex weigher(config);
    PairBatch whole;
    whole.indices = indices;
    whole.generated_view = views;
    const Tensor wanted = weigher.Weigh(whole).view({3, 4});
    EXPECT_FALSE(at::allclose(wanted[0], weigher.Weigh(parts[0])));
    const std::vector<Tensor> alone = WeighTogether(weigher, parts, 3, AloneWithTensors());
    ASSERT_EQ(alone.size(), 3u);
    for (int64_t part = 0; part < 3; ++part)
      EXPECT_TRUE(at::equal(alone[static_cast<size_t>(part)], wanted[part])) << part;
    std::vector<Tensor> given;
    for (int round = 0; round < 2; ++round) {  // in the second each knows what the other gives
      for (int64_t rank = 0; rank < 2; ++rank) {
        OneOfSeveral process(rank, 2, &given);
        std::vector<PairBatch> mine = {parts[static_cast<size_t>(rank)]};
        if (rank == 0) mine.push_back(parts[2]);
        const std::vector<Tensor> weights = WeighTogether(weigher, mine, 3, process);
        ASSERT_EQ(weights.size(), mine.size());
        if (round == 0) continue;
        EXPECT_TRUE(at::equal(weights[0], wanted[rank])) << rank;
        EXPECT_TRUE(rank != 0 || at::equal(weights[1], wanted[2]));
      }
    }
  }
}

TEST_F(GeneratedTest, WeightsOverTheWholeBatchGoOnAfterAKill) {
  Until progress;
  const auto with = [&](const std::string& name, QualityOver over) {
    PretrainConfig config = Cached(name);
    config.accumulate = 2;
    config.quality.gamma = 3;
    config.quality.over = over;
    return config;
  };
  Pretrain(with("parts", QualityOver::kPart), progress);
  Pretrain(with("whole", QualityOver::kBatch), progress);
  EXPECT_NE(Rows("parts")[0]["loss"], Rows("whole")[0]["loss"]);
  for (const int64_t step : {1, 4, 7}) {
    Until dies(-1, step);
    EXPECT_THROW(Pretrain(with("died", QualityOver::kBatch), dies), Killed);
  }
  Until lives;
  Pretrain(with("died", QualityOver::kBatch), lives);
  ExpectSameRun("whole", "died");
  // A step of one part is a batch.
  PretrainConfig one = Cached("one"), other = Cached("other");
  other.quality.over = QualityOver::kBatch;
  Pretrain(one, progress);
  Pretrain(other, progress);
  EXPECT_EQ(Rows("one")[0]["loss"], Rows("other")[0]["loss"]);
}

TEST_F(GeneratedTest, PicturesAreRepeatedBesideExtraData) {
  Until progress;
  PretrainConfig config = Generated("repeated");
  config.pair.source = PairSource::kExtraData;
  config.pair.repeat = 3;
  EXPECT_EQ(Pretrain(config, progress).images, kPictures * (3 + kEach));
  config.pair.source = PairSource::kGenerated;
  EXPECT_THROW(Pretrain(config, progress), UsageError);
}

TEST_F(GeneratedTest, PairsBelowTheFloorAreCounted) {
  Until progress;
  PretrainConfig config = Cached("all");
  config.quality.floor = 1.99;  // no pair is that good
  const PretrainSummary none = Pretrain(config, progress);
  EXPECT_EQ(none.loss, 0);
  EXPECT_EQ(Rows("all")[0]["dropped"], 1.0);
  config = Cached("whole");
  config.quality.floor = 0;
  Pretrain(config, progress);
  const double share = Rows("whole")[0]["dropped"].get<double>();
  EXPECT_GT(share, 0);
  EXPECT_LT(share, 1);
  config.out = (folder_ / "died").string();
  for (const int64_t step : {1, 4, 7}) {
    Until dies(-1, step);
    EXPECT_THROW(Pretrain(config, dies), Killed);
  }
  Until lives;
  Pretrain(config, lives);
  ExpectSameRun("whole", "died");
}

TEST_F(PretrainTest, ForegroundCropsNeedMasksAndGoOnAfterAKill) {
  const auto source = OpenSource("shapes:count=42,size=16,seed=3");
  for (int64_t i = 0; i < 42; ++i) {
    if (i != 8) WriteFile(folder_ / "masks" / MaskNames({source->item(i).id}).front(), EncodePng(*source->ReadMask(i)));
  }
  const auto with = [&](const std::string& name, CropDraw draw) {
    PretrainConfig config = Config(name);
    config.crop.rule.draw = draw;
    config.crop.rule.share = 0.9;
    config.crop.masks = draw == CropDraw::kAnywhere ? "" : (folder_ / "masks").string();
    return config;
  };
  Until progress;
  const double plain = Pretrain(with("plain", CropDraw::kAnywhere), progress).loss;
  EXPECT_NE(Pretrain(with("box", CropDraw::kBox), progress).loss, plain);
  EXPECT_NE(Pretrain(with("whole", CropDraw::kShare), progress).loss, plain);
  EXPECT_FALSE(
      std::filesystem::exists(folder_ / "whole/skipped.tsv"));  // a picture without a mask is a picture like any other
  for (const int64_t step : {3, 6}) {
    Until dies(-1, step);
    EXPECT_THROW(Pretrain(with("died", CropDraw::kShare), dies), Killed);
  }
  Until lives;
  Pretrain(with("died", CropDraw::kShare), lives);
  ExpectSameRun("whole", "died");
  PretrainConfig none = with("none", CropDraw::kBox);
  none.crop.masks.clear();
  EXPECT_THROW(Pretrain(none, progress), UsageError);
  none.crop.masks = (folder_ / "nowhere").string();
  EXPECT_THROW(Pretrain(none, progress), Error);
}

TEST_F(PretrainTest, KeysThatCameLaterSayNothingAtTheirDefaults) {
  const Json plain = WhatIsComputed(Resolved(Config("run")));
  for (const char* key :
       {"jitter", "drop_path", "positives", "stem_padding", "interpolation", "ema_final", "symmetric", "crop"})
    EXPECT_FALSE(plain.contains(key)) << key;
  EXPECT_FALSE(plain["pair"].contains("repeat") || plain["pair"].contains("per_image") ||
               plain["quality"].contains("floor") || plain["quality"].contains("among") ||
               plain["quality"].contains("over"));
  PretrainConfig config = Config("run");
  config.jitter = 0.4;
  config.stem_padding = 2;
  config.interpolation = Interpolation::kBicubic;
  config.ema_final = 0.9995;
  config.symmetric = true;
  config.pair.per_image = 2;
  config.quality.floor = 0.1;
  config.quality.among = QualityAmong::kKind;
  config.quality.over = QualityOver::kBatch;
  config.crop = {.rule = {.draw = CropDraw::kBox}, .masks = "somewhere"};
  const Json other = WhatIsComputed(Resolved(config));
  EXPECT_EQ(other["jitter"], 0.4);
  EXPECT_EQ(other["stem_padding"], 2);
  EXPECT_EQ(other["interpolation"], "bicubic");
  EXPECT_EQ(other["ema_final"], 0.9995);
  EXPECT_EQ(other["symmetric"], true);
  EXPECT_EQ(other["pair"]["per_image"], 2);
  EXPECT_EQ(other["quality"]["floor"], 0.1);
  EXPECT_EQ(other["quality"]["among"], "kind");
  EXPECT_EQ(other["quality"]["over"], "batch");
  EXPECT_EQ(other["crop"]["draw"], "box");
  EXPECT_EQ(other["crop"]["masks"], "");
}

// What was made before there was a shuffle stays made where none would change it.
TEST_F(PretrainTest, AShuffleIsSaidWhereThereIsOne) {
  const auto says = [](const PretrainConfig& config) {
    return WhatIsComputed(Resolved(config)).contains("shuffle_bn");
  };
  PretrainConfig config = Config("run");
  EXPECT_FALSE(says(config));
  config.accumulate = 2;
  EXPECT_TRUE(says(config));
  config.backbone = "vit-tiny";
  EXPECT_FALSE(says(config));
  config.backbone = "resnet18";
  config.shuffle_bn = false;
  EXPECT_FALSE(says(config));
  config = Config("run", MethodKind::kMocoV3);
  config.accumulate = 2;
  EXPECT_FALSE(says(config));
}

TEST_F(PretrainTest, OfKeysThatDoNotGoTogetherTheWrongOneIsNamed) {
  const auto key_of = [](const PretrainConfig& config) -> std::string {
    try {
      Resolved(config);
    } catch (const UsageError& error) {
      return error.text().where;
    }
    return "";
  };
  PretrainConfig config = Config("run");
  EXPECT_EQ(key_of(config), "");
  config.drop_path = 0.1;
  EXPECT_EQ(key_of(config), "key `pretrain.drop_path`");
  config = Config("run");
  config.stem_padding = 2;
  EXPECT_EQ(key_of(config), "");
  EXPECT_EQ(BackboneOf(Resolved(config)).stem_padding, 2);
  config.small_stem = false;
  EXPECT_EQ(key_of(config), "key `pretrain.stem_padding`");
  config = Config("run", MethodKind::kMultiPositive);
  EXPECT_EQ(Resolved(config).positives, 4);
  EXPECT_EQ(LoaderOf(Resolved(config)).more_views, 2);
  config.positives = 1;
  EXPECT_EQ(key_of(config), "key `pretrain.positives`");
  config = Config("run");
  config.pair.repeat = 2;
  EXPECT_EQ(key_of(config), "key `pretrain.pair.repeat`");
  config = Config("run");
  config.jitter = 0.25;
  EXPECT_EQ(LoaderOf(Resolved(config)).view2.jitter_p, 0.25);
}

TEST(LoaderOf, InterpolationIsThePresetsUnlessItIsGiven) {
  PretrainConfig config;
  config.swav.local_crops = 2;
  for (const auto& [method, filter] :
       {std::pair(MethodKind::kByol, Filter::kBicubic), std::pair(MethodKind::kSwav, Filter::kBilinear)}) {
    config.method = method;
    config.interpolation = Interpolation::kAuto;
    EXPECT_EQ(LoaderOf(Resolved(config)).view1.filter, filter);
    for (const auto& [given, wanted] : {std::pair(Interpolation::kBilinear, Filter::kBilinear),
                                        std::pair(Interpolation::kBicubic, Filter::kBicubic)}) {
      config.interpolation = given;
      const PairLoaderConfig loader = LoaderOf(Resolved(config));
      for (const AugmentConfig* view : {&loader.view1, &loader.view2, &loader.local}) EXPECT_EQ(view->filter, wanted);
    }
  }
}

TEST(PreprocessOf, ColoursOfTheCifars) {
  PretrainConfig config;
  config.normalisation = Normalisation::kCifar10;
  EXPECT_EQ(PreprocessOf(Resolved(config)).mean, (std::array<double, 3>{0.4914, 0.4822, 0.4465}));
  EXPECT_EQ(LoaderOf(Resolved(config)).std, (std::array<double, 3>{0.2470, 0.2435, 0.2616}));
  config.normalisation = Normalisation::kCifar100;
  EXPECT_EQ(PreprocessOf(Resolved(config)).mean, (std::array<double, 3>{0.5071, 0.4865, 0.4409}));
  EXPECT_EQ(PreprocessOf(Resolved(config)).std, (std::array<double, 3>{0.2673, 0.2564, 0.2762}));
}

TEST(LoaderOf, SmallCropsHaveTheColoursOfTheViews) {
  PretrainConfig config;
  config.method = MethodKind::kSwav;
  config.jitter = 0.25;
  config.blur = 0.125;
  config.crop_min = 0.5;
  config.swav.local_crops = 2;
  config.swav.local_size = 40;
  const PairLoaderConfig loader = LoaderOf(Resolved(config));
  for (const AugmentConfig* view : {&loader.view1, &loader.view2, &loader.local}) {
    EXPECT_EQ(view->jitter_p, 0.25);
    EXPECT_EQ(view->blur_p, 0.125);
  }
  EXPECT_EQ(loader.view2.scale_min, 0.5);
  EXPECT_EQ(loader.local.scale_min, AugmentPreset("swav", 2).scale_min);
  EXPECT_EQ(loader.local.size, 40);
}

}  // namespace
}  // namespace genview
