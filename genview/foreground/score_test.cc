// Both stages on the built-in pictures, with a small untrained encoder.
#include "genview/foreground/score.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>

#include "genview/base/error.h"
#include "genview/data/source.h"
#include "genview/foreground/fit.h"
#include "genview/foreground/fit_journal.h"
#include "genview/foreground/score_files.h"
#include "genview/models/encoder.h"
#include "genview/tensor/safetensors.h"
#include "tests/source_dir.h"

namespace genview {
namespace {

namespace fs = std::filesystem;

// Stops after some updates; counts batches.
class Counting : public Progress {
 public:
  explicit Counting(int64_t stop_after = INT64_MAX) : stop_after_(stop_after) {}
  void Update(int64_t, double, std::string_view) override { ++updates; }
  void Warn(std::string_view message) override { warnings.emplace_back(message); }
  bool Stopped() const override { return updates >= stop_after_; }
  int64_t updates = 0;
  std::vector<std::string> warnings;

 private:
  int64_t stop_after_;
};

struct Workplace {
  Path folder;
  Path encoder;
  std::string images = "shapes:count=24,size=32,seed=3";

  explicit Workplace(const std::string& name) : folder(Path(testing::TempDir()) / ("score_" + name)) {
    fs::remove_all(folder);
    encoder = folder / "encoder.safetensors";
    const auto net = MakeBackbone(
        Json{{"type", "vit-tiny"}, {"width", 0.125}, {"layers", 1}, {"patch_size", 8}, {"image_size", 32}});
    net->Init(Seed(2));
    const Json meta = {{"format", 1},
                       {"kind", "pretrain"},
                       {"backbone", FieldsToJson(net->config())},
                       {"preprocess", Preprocess{.size = 32, .resize_shortest = 32}.ToJson()}};
    WriteSafetensors(encoder, NamedTensors(net->Weights(), "encoder."), {{"genview", meta.dump()}});
  }

  FitConfig Fit() const {
    FitConfig c;
    c.images = images;
    c.encoder = encoder;
    c.out = folder / "FG.safetensors";
    c.run.device = DeviceChoice::kCpu;
    c.run.precision = Precision::kFp32;
    c.run.batch = 8;
    c.run.threads = 2;
    return c;
  }
  ScoreConfig Score(const std::string& out = "ratios.tsv") const {
    ScoreConfig c;
    c.images = images;
    c.model = folder / "FG.safetensors";
    c.encoder = encoder;
    c.out = folder / out;
    c.run = Fit().run;
    return c;
  }
};

TEST(FitForeground, TheShareOfTheSampleIsForeground) {
  const Workplace place("share");
  Progress quiet;
  FitConfig config = place.Fit();
  config.share = 0.25;
  const FitSummary fit = FitForeground(config, quiet);
  EXPECT_EQ(fit.images, 24);
  EXPECT_FALSE(fit.up_to_date);
  const ScoreSummary score = ScoreForeground(place.Score(), quiet);
  EXPECT_EQ(score.images, 24);
  EXPECT_NEAR(score.mean_ratio, 0.25, 1e-9);
  int64_t all = 0;
  for (const auto& [level, count] : score.per_level) all += count;
  EXPECT_EQ(all, 24);
  EXPECT_EQ(score.per_level.size(), 5u);
  ASSERT_TRUE(score.truth_overlap.has_value());
  EXPECT_GT(*score.truth_overlap, 0);
  EXPECT_LT(*score.truth_overlap, 1);
  EXPECT_EQ(score.with_truth, 24);
  ASSERT_TRUE(score.truth_spearman.has_value());
  EXPECT_LE(std::abs(*score.truth_spearman), 1);
}

// A sample too large for memory is encoded twice and gives the same bytes.
TEST(FitForeground, MemoryChangesNothing) {
  const Workplace place("memory");
  Counting once, twice;
  FitForeground(place.Fit(), once);
  const std::string kept = ReadFile(place.folder / "FG.safetensors");
  fs::remove(place.folder / "FG.safetensors");
  FitConfig config = place.Fit();
  config.memory_mb = 0;
  FitForeground(config, twice);
  EXPECT_EQ(ReadFile(place.folder / "FG.safetensors"), kept);
  EXPECT_EQ(once.updates, 3);
  EXPECT_EQ(twice.updates, 6);
}

// At every batch of both walks over the sample, with tokens kept in memory and without, and with a component that is
// given.
TEST(FitForeground, GoesOnWhereItWasStopped) {
  const Workplace place("fit_stopped");
  Progress quiet;
  FitForeground(place.Fit(), quiet);
  fs::rename(place.folder / "FG.safetensors", place.folder / "given.safetensors");
  for (const auto& [memory_mb, given] : {std::pair<int64_t, bool>{1024, false}, {0, false}, {1024, true}}) {
    FitConfig config = place.Fit();
    config.memory_mb = memory_mb;
    if (given) config.component = place.folder / "given.safetensors";
    Counting all;
    FitForeground(config, all);
    const std::string bytes = ReadFile(config.out);
    for (int64_t stop = 1; stop <= all.updates; ++stop) {
      SCOPED_TRACE(Format("{} MB, {}, stopped after {}", memory_mb, given ? "given" : "found", stop));
      fs::remove(config.out);
      Counting stopped(stop), rest;
      EXPECT_THROW(FitForeground(config, stopped), Interrupted);
      EXPECT_FALSE(fs::exists(config.out));
      EXPECT_TRUE(fs::exists(FitJournal::Place(config.out)));
      FitForeground(config, rest);
      EXPECT_EQ(ReadFile(config.out), bytes);
      EXPECT_FALSE(fs::exists(FitJournal::Place(config.out)));
      const bool again = memory_mb > 0 && !given;  // tokens that were kept are gone
      EXPECT_EQ(rest.updates, again ? all.updates : all.updates - stop);
    }
    fs::remove(config.out);
  }
}

TEST(FitForeground, GoesOnWhereItWasKilled) {
  const Workplace place("fit_killed");
  class Dying : public Counting {
   public:
    void Update(int64_t, double, std::string_view) override {
      if (++updates == 5) throw std::runtime_error("killed");
    }
  } dying;
  FitConfig config = place.Fit();
  config.memory_mb = 0;
  Counting all, rest;
  FitForeground(config, all);
  const std::string bytes = ReadFile(config.out);
  fs::remove(config.out);
  config.save_seconds = 0;
  EXPECT_THROW(FitForeground(config, dying), std::runtime_error);
  FitForeground(config, rest);
  EXPECT_EQ(ReadFile(config.out), bytes);
  EXPECT_LT(rest.updates, all.updates);
}

TEST(FitForeground, AJournalOfSomethingElseIsNotGoneOnFrom) {
  const Workplace place("fit_journal");
  FitConfig config = place.Fit();
  config.memory_mb = 0;
  const Path journal = FitJournal::Place(config.out);
  const auto updates_of = [&](const FitConfig& other) {
    Counting progress;
    FitForeground(other, progress);
    EXPECT_FALSE(fs::exists(journal));
    fs::remove(other.out);
    return progress.updates;
  };
  const auto stop = [&] {
    Counting stopped(4);
    EXPECT_THROW(FitForeground(config, stopped), Interrupted);
  };
  stop();
  FitConfig other = config;
  other.share = 0.6;
  EXPECT_EQ(updates_of(other), 6);
  stop();
  other = config;
  other.run.batch = 12;
  EXPECT_EQ(updates_of(other), 4);
  stop();
  WriteFile(journal, ReadFile(journal).substr(0, 400));
  EXPECT_EQ(updates_of(config), 6);
  stop();
  EXPECT_EQ(updates_of(config), 2);
}

TEST(FitForeground, WhatWasLeftOutBeforeItWasStoppedIsNamed) {
  Workplace place("fit_stopped_bad");
  const auto shapes = OpenSource("shapes:count=6,size=32,seed=1");
  for (int64_t i = 0; i < 6; ++i)
    WriteFile(place.folder / "images" / Format("{}.png", i), i == 1 ? "not a picture" : *shapes->ReadBytes(i));
  place.images = (place.folder / "images").string();
  FitConfig config = place.Fit();
  config.run.batch = 2;
  config.run.threads = 1;
  Counting stopped(2);
  EXPECT_THROW(FitForeground(config, stopped), Interrupted);
  FitConfig strict = config;
  strict.run.strict = true;
  Progress quiet;
  EXPECT_THROW(FitForeground(strict, quiet), Error);
  EXPECT_EQ(FitForeground(config, quiet).skipped, 1);
  EXPECT_NE(ReadFile(place.folder / "skipped.tsv").find("1.png\t"), std::string::npos);
}

TEST(FitForeground, IsNotDoneTwiceAndFollowsItsInputs) {
  const Workplace place("again");
  Counting progress;
  FitForeground(place.Fit(), progress);
  const int64_t updates = progress.updates;
  EXPECT_TRUE(FitForeground(place.Fit(), progress).up_to_date);
  EXPECT_EQ(progress.updates, updates);
  FitConfig other = place.Fit();
  other.sample = 10;
  EXPECT_EQ(FitForeground(other, progress).images, 10);
  other.mode = ThresholdMode::kHistogram;
  EXPECT_FALSE(FitForeground(other, progress).up_to_date);
  other.run.precision = Precision::kBf16;
  EXPECT_FALSE(FitForeground(other, progress).up_to_date);
  EXPECT_TRUE(FitForeground(other, progress).up_to_date);
}

// A component and its opposite become the same foreground.
TEST(FitForeground, AGivenComponentKeepsItsDirectionAndGetsItsSign) {
  const Workplace place("given");
  Counting progress;
  FitForeground(place.Fit(), progress);
  const ForegroundModel own = ReadForegroundModel(place.folder / "FG.safetensors");
  ForegroundModel turned;
  turned.component = -own.component;
  WriteForegroundModel(place.folder / "turned.safetensors", turned);
  FitConfig config = place.Fit();
  config.component = place.folder / "turned.safetensors";
  config.out = place.folder / "FG2.safetensors";
  const size_t warnings = progress.warnings.size();
  FitForeground(config, progress);
  EXPECT_GT(progress.warnings.size(), warnings);
  const ForegroundModel again = ReadForegroundModel(config.out);
  EXPECT_TRUE(at::equal(again.component, own.component));
  EXPECT_NEAR(*again.threshold, *own.threshold, 1e-5);
}

TEST(ScoreForeground, ResumesAfterAnInterruptionWithTheSameBytes) {
  const Workplace place("resume");
  Progress quiet;
  FitForeground(place.Fit(), quiet);
  ScoreConfig config = place.Score();
  config.masks = place.folder / "masks";
  Counting whole;
  const ScoreSummary undisturbed = ScoreForeground(config, whole);
  EXPECT_EQ(whole.updates, 3);
  const std::string table = ReadFile(config.out), summary = ReadFile(place.folder / "ratios.json");
  fs::remove(config.out);
  fs::remove(place.folder / "ratios.json");

  Counting stopped(1), rest;
  EXPECT_THROW(ScoreForeground(config, stopped), Interrupted);
  EXPECT_FALSE(fs::exists(config.out));
  const ScoreSummary resumed = ScoreForeground(config, rest);
  EXPECT_EQ(rest.updates, 2);
  EXPECT_EQ(ReadFile(config.out), table);
  EXPECT_EQ(ReadFile(place.folder / "ratios.json"), summary);
  EXPECT_EQ(resumed.truth_overlap, undisturbed.truth_overlap);
  EXPECT_EQ(resumed.truth_spearman, undisturbed.truth_spearman);
  EXPECT_FALSE(fs::exists(place.folder / ".ratios.tsv.journal"));
}

TEST(ScoreForeground, IsNotDoneTwiceAndFollowsItsInputs) {
  const Workplace place("twice");
  Progress quiet;
  FitForeground(place.Fit(), quiet);
  Counting progress;
  ScoreConfig config = place.Score();
  ScoreForeground(config, progress);
  EXPECT_EQ(progress.updates, 3);
  const ScoreSummary again = ScoreForeground(config, progress);
  EXPECT_TRUE(again.up_to_date);
  EXPECT_EQ(again.images, 24);
  EXPECT_EQ(progress.updates, 3);
  config.masks = place.folder / "masks";  // asked for later: the pictures are scored again
  ScoreForeground(config, progress);
  EXPECT_EQ(progress.updates, 6);
  EXPECT_TRUE(ScoreForeground(config, progress).up_to_date);
  WriteFile(config.out, ReadFile(config.out) + "x\tx\t0\t0\n");  // changed by hand
  ScoreForeground(config, progress);
  EXPECT_EQ(progress.updates, 9);
  fs::remove_all(config.masks);
  ScoreForeground(config, progress);
  EXPECT_EQ(progress.updates, 12);
  config.run.precision = Precision::kBf16;
  ScoreForeground(config, progress);
  EXPECT_EQ(progress.updates, 15);
  EXPECT_TRUE(ScoreForeground(config, progress).up_to_date);
}

TEST(FitForeground, ADamagedModelIsMadeAnew) {
  const Workplace place("damaged");
  Progress quiet;
  FitForeground(place.Fit(), quiet);
  const std::string whole = ReadFile(place.Fit().out);
  WriteFile(place.Fit().out, "short");
  EXPECT_FALSE(FitForeground(place.Fit(), quiet).up_to_date);
  EXPECT_EQ(ReadFile(place.Fit().out), whole);
  FitConfig mistaken = place.Fit();
  mistaken.out = place.folder / "weights.safetensors";
  fs::copy_file(place.encoder, mistaken.out);
  EXPECT_THROW(FitForeground(mistaken, quiet), Error);
  EXPECT_EQ(ReadFile(mistaken.out), ReadFile(place.encoder));
}

TEST(ScoreForeground, NoFileOfTheUsersIsReplacedByTheSummary) {
  const Workplace place("foreign");
  Progress quiet;
  FitForeground(place.Fit(), quiet);
  EXPECT_THROW(ScoreForeground(place.Score("ratios.json"), quiet), UsageError);
  WriteFile(place.folder / "photos/a.png", "a picture");
  ScoreConfig into = place.Score("photos/a.png");
  FitConfig fit = place.Fit();
  into.images = fit.images = (place.folder / "photos").string();
  fit.out = into.out;
  EXPECT_THROW(ScoreForeground(into, quiet), UsageError);
  EXPECT_THROW(FitForeground(fit, quiet), UsageError);
  EXPECT_EQ(ReadFile(into.out), "a picture");
  for (const char* text : {R"({"mine": 1})", "no json", "[]", ""}) {
    WriteFile(place.folder / "ratios.json", text);
    EXPECT_THROW(ScoreForeground(place.Score(), quiet), UsageError) << text;
    EXPECT_EQ(ReadFile(place.folder / "ratios.json"), text);
  }
  fs::remove(place.folder / "ratios.json");
  ScoreForeground(place.Score(), quiet);
  WriteFile(place.folder / "ratios.json", "damaged");  // beside a table of this program it is the program's own
  EXPECT_FALSE(ScoreForeground(place.Score(), quiet).up_to_date);
  EXPECT_TRUE(ScoreForeground(place.Score(), quiet).up_to_date);
}

TEST(ScoreForeground, AStoppedRunOfAnotherModelIsNotUsed) {
  const Workplace place("other");
  Progress quiet;
  FitForeground(place.Fit(), quiet);
  Counting stopped(2);
  EXPECT_THROW(ScoreForeground(place.Score(), stopped), Interrupted);
  FitConfig other = place.Fit();
  other.share = 0.6;
  FitForeground(other, quiet);
  Counting all;
  EXPECT_NEAR(ScoreForeground(place.Score(), all).mean_ratio, 0.6, 0.5 / (24 * 16));
  EXPECT_EQ(all.updates, 3);
}

// The table is still the first model's, the masks are of both.
TEST(ScoreForeground, MasksOfAStoppedRunOfAnotherModelAreMadeAgain) {
  const Workplace place("othermasks");
  Progress quiet;
  FitForeground(place.Fit(), quiet);
  FitConfig fit = place.Fit();
  fit.share = 0.9;
  fit.out = place.folder / "other.safetensors";
  FitForeground(fit, quiet);
  ScoreConfig config = place.Score();
  config.masks = place.folder / "masks";
  ScoreForeground(config, quiet);
  const auto masks = [&] {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(config.masks)) {
      if (entry.is_regular_file()) files[entry.path().string()] = ReadFile(entry.path());
    }
    return files;
  };
  const auto before = masks();
  ScoreConfig other = config;
  other.model = fit.out;
  Counting stopped(1);
  EXPECT_THROW(ScoreForeground(other, stopped), Interrupted);
  EXPECT_NE(masks(), before);
  EXPECT_FALSE(ScoreForeground(config, quiet).up_to_date);
  EXPECT_EQ(masks(), before);
  EXPECT_TRUE(ScoreForeground(config, quiet).up_to_date);
}

TEST(ScoreForeground, ScoresThatAreNoNumbersAreAnError) {
  const Workplace place("notfinite");
  Progress quiet;
  FitForeground(place.Fit(), quiet);
  ForegroundModel bare = ReadForegroundModel(place.Fit().out);
  bare.component = at::full_like(bare.component, 3e38);
  bare.encoder.clear();
  ScoreConfig config = place.Score();
  config.model = place.folder / "huge.safetensors";
  WriteForegroundModel(config.model, bare);
  EXPECT_THROW(ScoreForeground(config, quiet), Error);
  EXPECT_FALSE(fs::exists(config.out));
}

TEST(ScoreForeground, BatchAndThreadsChangeNothing) {
  const Workplace place("batch");
  Progress quiet;
  FitForeground(place.Fit(), quiet);
  ScoreForeground(place.Score(), quiet);
  ScoreConfig other = place.Score("other.tsv");
  other.run.batch = 5;
  other.run.threads = 1;
  ScoreForeground(other, quiet);
  EXPECT_EQ(ReadFile(place.folder / "ratios.tsv"), ReadFile(place.folder / "other.tsv"));
}

TEST(ScoreForeground, ABareComponentIsGivenItsThresholdAndSide) {
  const Workplace place("bare");
  Progress quiet;
  FitForeground(place.Fit(), quiet);
  const ForegroundModel fitted = ReadForegroundModel(place.Fit().out);
  const double ratio = ScoreForeground(place.Score("whole.tsv"), quiet).mean_ratio;
  ScoreConfig config = place.Score();
  config.model = place.folder / "component.safetensors";
  const auto write = [&](const Tensor& component) {
    ForegroundModel bare;
    bare.component = component;
    WriteForegroundModel(config.model, bare);
  };
  write(fitted.component);
  EXPECT_THROW(ScoreForeground(config, quiet), Error);
  config.threshold = Format("{}", *fitted.threshold);
  ScoreForeground(config, quiet);
  EXPECT_EQ(ReadFile(config.out), ReadFile(place.folder / "whole.tsv"));
  EXPECT_TRUE(ScoreForeground(config, quiet).up_to_date);
  config.side = ForegroundSide::kBelow;  // the background
  EXPECT_NEAR(ScoreForeground(config, quiet).mean_ratio, 1 - ratio, 1e-6);
  write(-fitted.component);
  config.threshold = Format("{}", -*fitted.threshold);
  ScoreForeground(config, quiet);
  EXPECT_EQ(ReadFile(config.out), ReadFile(place.folder / "whole.tsv"));
  for (const char* bad : {"much", "nan", "inf"}) {
    config.threshold = bad;
    EXPECT_THROW(ScoreForeground(config, quiet), UsageError) << bad;
  }
}

TEST(ScoreForeground, SweepsWhatAKilledCallLeftAmongTheMasks) {
  const Workplace place("leftovers");
  Progress quiet;
  FitForeground(place.Fit(), quiet);
  ScoreConfig config = place.Score();
  config.masks = place.folder / "masks";
  const std::string first = OpenSource(place.images)->item(0).id;
  const Path left =
      (config.masks / first).parent_path() / ".000000.png.999999999.part";  // of a process that is no more
  WriteFile(left, "torn");
  ScoreForeground(config, quiet);
  EXPECT_FALSE(fs::exists(left));
  EXPECT_TRUE(fs::exists((config.masks / first).replace_extension(".png")));
}

TEST(ScoreForeground, MasksHaveThePicturesSizeAndRatio) {
  const Workplace place("masks");
  Progress quiet;
  FitForeground(place.Fit(), quiet);
  ScoreConfig config = place.Score();
  config.masks = place.folder / "masks";
  ScoreForeground(config, quiet);
  for (const ForegroundRow& row : ReadForegroundTable(config.out)) {
    const Path file = config.masks / Path(row.id).replace_extension(".png");
    const Outcome<Image> mask = DecodeImage(ReadFile(file));
    ASSERT_TRUE(mask) << file;
    EXPECT_EQ(mask->width, 32);
    int64_t on = 0;
    for (size_t i = 0; i < mask->pixels.size(); i += 3) on += mask->pixels[i] == 255;
    EXPECT_NEAR(static_cast<double>(on) / (32 * 32), row.ratio, 1e-9);
  }
}

// A JPEG of a picture that is stored lying on its side, and says so.
std::string OnItsSide(const Image& upright) {
  Image stored(upright.height, upright.width);
  for (int64_t y = 0; y < upright.height; ++y) {
    for (int64_t x = 0; x < upright.width; ++x)
      std::copy_n(upright.at(x, y), 3, stored.at(y, upright.width - 1 - x));  // turned to the left
  }
  const std::string exif("Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0", 32);
  const std::string jpeg = EncodeJpeg(stored, 95);
  return jpeg.substr(0, 2) + std::string("\xff\xe1\0\x22", 4) + exif + jpeg.substr(2);
}

TEST(ScoreForeground, MasksOfPicturesThatAreTurnedAreUpright) {
  Workplace place("upright");
  Progress quiet;
  FitForeground(place.Fit(), quiet);
  const Path pictures = place.folder / "photos";
  const auto shapes = OpenSource("shapes:count=8,size=48,seed=3");
  for (int64_t i = 0; i < 8; ++i) {
    const std::string turned = OnItsSide(Crop(*shapes->Read(i), {8, 0, 32, 48}));
    const Outcome<Image> upright = DecodeImage(turned);
    ASSERT_EQ(std::pair(upright->width, upright->height), std::pair(int64_t{32}, int64_t{48}));
    WriteFile(pictures / Format("turned/{}.jpg", i), turned);
    WriteFile(pictures / Format("upright/{}.png", i), EncodePng(*upright));
  }
  place.images = pictures.string();
  ScoreConfig config = place.Score();
  config.masks = place.folder / "masks";
  EXPECT_EQ(ScoreForeground(config, quiet).images, 16);
  int64_t on = 0;
  for (int64_t i = 0; i < 8; ++i) {
    const Outcome<Image> turned = DecodeImage(ReadFile(config.masks / Format("turned/{}.png", i)));
    const Outcome<Image> upright = DecodeImage(ReadFile(config.masks / Format("upright/{}.png", i)));
    ASSERT_TRUE(turned && upright);
    EXPECT_EQ(std::pair(turned->width, turned->height), std::pair(int64_t{32}, int64_t{48}));
    EXPECT_EQ(turned->pixels, upright->pixels) << i;
    // The encoder sees the middle 32 of 48 rows.
    for (const int64_t y : {0, 7, 40, 47}) {
      for (int64_t x = 0; x < 32; ++x) EXPECT_EQ(*turned->at(x, y), 0);
    }
    on += std::count(turned->pixels.begin(), turned->pixels.end(), 255);
  }
  EXPECT_GT(on, 0);
}

TEST(ScoreForeground, MasksThatWouldMeetAreInTheIndex) {
  Workplace place("index");
  Progress quiet;
  FitForeground(place.Fit(), quiet);
  const auto shapes = OpenSource("shapes:count=2,size=32,seed=3");
  WriteFile(place.folder / "photos/a.jpg", EncodeJpeg(*shapes->Read(0)));
  WriteFile(place.folder / "photos/a.png", EncodePng(*shapes->Read(1)));
  place.images = (place.folder / "photos").string();
  ScoreConfig config = place.Score();
  config.masks = place.folder / "masks";
  const Path index = config.masks / "index.tsv";
  ScoreForeground(config, quiet);
  EXPECT_EQ(ReadFile(index), "id\tmask\na.png\ta.png.png\n");
  EXPECT_TRUE(fs::exists(config.masks / "a.png") && fs::exists(config.masks / "a.png.png"));
  fs::remove(index);  // as masks of an older version are
  EXPECT_TRUE(ScoreForeground(config, quiet).up_to_date);
  EXPECT_TRUE(fs::exists(index));
}

TEST(ScoreForeground, MasksDoNotLieAmongThePictures) {
  Workplace place("among");
  Progress quiet;
  place.images = (place.folder / "photos").string();
  FitConfig fit = place.Fit();
  fit.images = "shapes:count=24,size=32,seed=3";
  FitForeground(fit, quiet);
  WriteFile(place.folder / "photos/a.png", *OpenSource("shapes:count=1,size=32")->ReadBytes(0));
  ScoreConfig config = place.Score();
  config.masks = place.folder / "photos/masks";
  EXPECT_THROW(ScoreForeground(config, quiet), UsageError);
  EXPECT_FALSE(fs::exists(config.masks));
  config.masks = place.folder / "masks";
  EXPECT_EQ(ScoreForeground(config, quiet).images, 1);
}

TEST(ScoreForeground, AnotherEncoderIsRefused) {
  const Workplace place("refused");
  Progress quiet;
  FitForeground(place.Fit(), quiet);
  const Workplace other("refused_other");
  ScoreConfig config = place.Score();
  const auto net =
      MakeBackbone(Json{{"type", "vit-tiny"}, {"width", 0.125}, {"layers", 2}, {"patch_size", 8}, {"image_size", 32}});
  net->Init(Seed(3));
  WriteSafetensors(other.folder / "e.safetensors", NamedTensors(net->Weights(), "encoder."),
                   {{"genview", Json{{"backbone", FieldsToJson(net->config())}}.dump()}});
  config.encoder = other.folder / "e.safetensors";
  EXPECT_THROW(ScoreForeground(config, quiet), Error);
}

TEST(ScoreForeground, BadPicturesAreLeftOutAndNamed) {
  Workplace place("bad");
  const auto shapes = OpenSource("shapes:count=6,size=32,seed=1");
  for (int64_t i = 0; i < 6; ++i) {
    const Outcome<Image> image = shapes->Read(i);
    ASSERT_TRUE(image);
    WriteFile(place.folder / "images" / Format("{}.png", i), i == 3 ? "not a picture" : EncodePng(*image));
  }
  place.images = (place.folder / "images").string();
  Progress quiet;
  EXPECT_EQ(FitForeground(place.Fit(), quiet).skipped, 1);
  const ScoreSummary score = ScoreForeground(place.Score(), quiet);
  EXPECT_EQ(score.images, 5);
  EXPECT_EQ(score.skipped, 1);
  EXPECT_NE(ReadFile(place.folder / "skipped.tsv").find("3.png\t"), std::string::npos);
  ScoreConfig strict = place.Score("strict.tsv");
  strict.run.strict = true;
  EXPECT_THROW(ScoreForeground(strict, quiet), Error);
}

TEST(ScoreFiles, ListsAreThoseOfTheOriginalTools) {
  const Path folder = Path(testing::TempDir()) / "original_lists";
  WriteOriginalLists(folder, {{"a", "x/a.jpg", 0.40625, 200}, {"b", "x/b c.jpg", 1, 400}, {"d", "x/d.jpg", 0, 0}},
                     {0, 200, 400});
  EXPECT_EQ(ReadFile(folder / "fg_ratios.txt"), "x/a.jpg 0.40625\nx/b c.jpg\t1.0\nx/d.jpg 0.0\n");
  EXPECT_EQ(ReadFile(folder / "fg_ratios_200.txt"), "x/a.jpg 200\n");
  EXPECT_EQ(ReadFile(folder / "fg_ratios_400.txt"), "x/b c.jpg\t400\n");
}

// The demo's tower on pictures whose masks are known: fitted on those of one seed, held against the masks of another's.
TEST(ScoreForeground, TheDemosTowerFindsTheObjects) {
  const Workplace place("tower");
  Progress quiet;
  const auto measure = [&](int64_t seed, int64_t count) {
    const auto pictures = [&](int64_t of) { return Format("shapes:count={},size=32,seed={}", count, of); };
    FitConfig fit = place.Fit();
    fit.encoder = SourceDir() / "models/demo/tower";
    fit.images = pictures(seed);
    fit.run.batch = 64;
    ScoreConfig score = place.Score();
    score.encoder = fit.encoder;
    score.images = pictures(seed + 1000);
    score.run.batch = 64;
    FitForeground(fit, quiet);
    return ScoreForeground(score, quiet);
  };
  for (const int64_t seed : {100, 101, 102}) {
    const ScoreSummary found = measure(seed, 300);
    EXPECT_EQ(found.with_truth, 300);
    EXPECT_GE(found.truth_overlap.value_or(0), 0.6) << seed;
    EXPECT_GE(found.truth_spearman.value_or(0), 0.85) << seed;
  }
  // The sign the wrong way round, large objects would be small foregrounds.
  for (int64_t seed = 100; seed < 110; ++seed) EXPECT_GT(measure(seed, 60).truth_spearman.value_or(-1), 0) << seed;
}

TEST(ScoreJournal, DamageMeansBeginningAgain) {
  const Path path = Path(testing::TempDir()) / "score.journal";
  fs::remove(path);
  SkippedLog skipped;
  skipped.Add("bad", "why");
  {
    ScoreJournal journal(path, "request", skipped);
    journal.Append({{0, 5, 0.1, 0.2}, {2, 7, {}, {}}}, 4, skipped);
  }
  {
    SkippedLog fresh;
    const ScoreJournal journal(path, "request", fresh);
    EXPECT_EQ(journal.next(), 4);
    EXPECT_EQ(journal.images(), (std::vector<ScoredImage>{{0, 5, 0.1, 0.2}, {2, 7, {}, {}}}));
    EXPECT_EQ(fresh.rows(), skipped.rows());
  }
  WriteFile(path, ReadFile(path) + "{\"next\": 9, \"ro");  // torn
  EXPECT_EQ(ScoreJournal(path, "request", skipped).next(), 4);
  WriteFile(path, ReadFile(path) + "{\"next\": 9}\n");
  EXPECT_EQ(ScoreJournal(path, "request", skipped).next(), 0);
  EXPECT_EQ(ScoreJournal(path, "another", skipped).next(), 0);
}

TEST(Spearman, OfRanksNotOfValues) {
  EXPECT_DOUBLE_EQ(Spearman({1, 2, 3, 4}, {1, 10, 100, 1000}), 1);
  EXPECT_DOUBLE_EQ(Spearman({1, 2, 3, 4}, {4, 3, 2, 1}), -1);
  EXPECT_NEAR(Spearman({1, 2, 2, 4}, {1, 3, 2, 4}), 3 / std::sqrt(10.0), 1e-12);  // ranks 0 1.5 1.5 3 and 0 2 1 3
  EXPECT_DOUBLE_EQ(Spearman({5, 5, 5}, {1, 2, 3}), 0);
}

}  // namespace
}  // namespace genview
