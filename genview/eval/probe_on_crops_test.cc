#include "genview/eval/probe_on_crops.h"

#include <c10/core/InferenceMode.h>

#include <limits>
#include <map>
#include <stdexcept>
#include <vector>

#include "genview/base/error.h"
#include "genview/train/checkpoint.h"
#include "tests/golden/compare.h"
#include "tests/temporary_folder.h"

namespace genview {
namespace {

constexpr int64_t kSize = 16, kPictures = 23;

// Counts steps, and asks to stop after some of them.
struct Counted : Progress {
  explicit Counted(int64_t stop_after = int64_t{1} << 40) : most(stop_after) {}
  void Update(int64_t done, double, std::string_view) override {
    if (first < 0) first = done;
    ++updates;
  }
  bool Stopped() const override { return updates > most; }
  int64_t most, updates = 0, first = -1;
};

class ProbeOnCropsTest : public testing::Test {
 protected:
  ProbeOnCropsTest() {
    BackboneConfig config;
    config.width = 4.0 / 64;
    config.small_stem = true;
    backbone_ = MakeBackbone(config);
    backbone_->Init(Seed(0));
    preprocess_.size = preprocess_.resize_shortest = kSize;
    encoder_ = EncoderOf(backbone_, preprocess_, "an encoder");
  }

  static ProbeConfig Config(std::vector<double> rates = {0.05, 0.2}) {
    ProbeConfig config{.rates = std::move(rates), .epochs = 3, .batch = 5};
    config.nesterov = true;
    return config;
  }
  // The loader hands over 7 at a time: steps of 5 are put together of two batches.
  CropTraining Training(int64_t threads = 1, int64_t at_a_time = 7) const {
    RunOptions run;
    run.threads = threads;
    return {.labelled = pictures_, .crops = LabelledCrops(preprocess_, at_a_time, Seed(4), run)};
  }
  int64_t Classes() const { return static_cast<int64_t>(pictures_->classes().size()); }

  Tensor Features() const {  // of the whole pictures, in their order
    const c10::InferenceMode guard;
    std::vector<int64_t> all;
    for (int64_t i = 0; i < kPictures; ++i) all.push_back(i);
    SkippedLog skipped;
    EncodeLoader loader(pictures_, all, preprocess_, kPictures, 1, skipped, /*strict=*/true);
    EncodeBatch batch;
    loader.Next(batch);
    return encoder_->Encode(batch.pixels, /*tokens=*/false).embeddings;
  }
  Tensor Labels() const {
    std::vector<int64_t> all;
    for (int64_t i = 0; i < kPictures; ++i) all.push_back(i);
    return LabelsOf(*pictures_, all);
  }
  Probe Start(const ProbeConfig& config) const { return MakeProbe(Features(), Classes(), config, Seed(4)); }

  Probe Train(const CropTraining& training, const ProbeConfig& config) const {
    Counted progress;
    return Train(training, config, progress);
  }
  Probe Train(const CropTraining& training, const ProbeConfig& config, Progress& progress) const {
    Probe probe = Start(config);
    SkippedLog skipped;
    TrainProbeOnCrops(probe, *encoder_, training, config, skipped, progress);
    return probe;
  }
  static bool Same(const Probe& a, const Probe& b) {
    return at::equal(a.weight, b.weight) && at::equal(a.bias, b.bias);
  }

  const std::shared_ptr<const ImageSource> pictures_ =
      OpenSource(Format("shapes:count={},size={},seed=3", kPictures, kSize));
  std::shared_ptr<Backbone> backbone_;
  Preprocess preprocess_;
  std::shared_ptr<Encoder> encoder_;
};

TEST_F(ProbeOnCropsTest, OfWholePicturesItIsTheTrainingOnFeatures) {
  Progress silent;
  CropTraining whole = Training();
  whole.crops.view1.scale_min = whole.crops.view1.scale_max = 1;  // what is no square does not fit
  whole.crops.view1.flip_p = 0;
  for (const bool nesterov : {true, false}) {
    ProbeConfig config = Config();
    config.nesterov = nesterov;
    Probe wanted = Start(config);
    TrainProbe(wanted, Features(), Labels(), config, Seed(4), silent);
    const Probe got = Train(whole, config);
    EXPECT_CLOSE(got.weight, wanted.weight, 1e-3);
    EXPECT_CLOSE(got.bias, wanted.bias, 1e-3);
    EXPECT_FALSE(at::allclose(Train(Training(), config).weight, wanted.weight, 1e-2, 1e-2));  // crops are others
  }
}

TEST_F(ProbeOnCropsTest, ThreadsChangeNoBitAndTheLoadersBatchOnlyRounding) {
  const ProbeConfig config = Config();
  const Probe one = Train(Training(1), config);
  EXPECT_TRUE(Same(Train(Training(3), config), one));
  for (const int64_t at_a_time : {1, 4, 23}) {
    const Probe other = Train(Training(1, at_a_time), config);
    EXPECT_CLOSE(other.weight, one.weight, 1e-3) << at_a_time;
  }
}

TEST_F(ProbeOnCropsTest, EachRateEndsAsItWouldAlone) {
  const Probe both = Train(Training(), Config({0.05, 0.2})), alone = Train(Training(), Config({0.2}));
  EXPECT_TRUE(at::equal(both.weight[1], alone.weight[0]));
  EXPECT_TRUE(at::equal(both.bias[1], alone.bias[0]));
  EXPECT_FALSE(at::equal(both.weight[0], both.weight[1]));
}

TEST_F(ProbeOnCropsTest, TheEncoderStaysAsItIs) {
  std::vector<Tensor> before;
  for (const auto& [name, tensor] : NamedTensors(backbone_->Weights())) before.push_back(tensor.clone());
  (void)Train(Training(), Config());
  const auto after = NamedTensors(backbone_->Weights());
  ASSERT_EQ(after.size(), before.size());
  for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(at::equal(after[i].second, before[i])) << after[i].first;
}

TEST_F(ProbeOnCropsTest, StepsAreThoseOfTheBatch) {
  for (const auto& [batch, steps] : std::map<int64_t, int64_t>{{5, 15}, {23, 3}, {64, 3}, {1, 69}}) {
    ProbeConfig config = Config();
    config.batch = batch;
    Counted progress;
    (void)Train(Training(), config, progress);
    EXPECT_EQ(progress.updates, steps + 1) << batch;  // the first one says where it begins
  }
}

// A training looks whether it is to stop after every batch of the loader.
struct StopsAtBatch : Progress {
  explicit StopsAtBatch(int64_t batches) : left(batches) {}
  bool Stopped() const override { return --left <= 0; }
  mutable int64_t left;
};

TEST_F(ProbeOnCropsTest, StoppedAnywhereTheSameCallEndsWithTheSameBytes) {
  const ProbeConfig config = Config();  // 3 epochs of 5 steps, of 4 batches of the loader
  const Probe undisturbed = Train(Training(), config);
  constexpr int64_t kStepsAfter[] = {1, 2, 4, 4};  // of 7, 14, 21 and 23 pictures in steps of 5
  for (int64_t batches = 1; batches <= 12; ++batches) {
    const TemporaryFolder place;
    CropTraining training = Training();
    training.keep = place.path() / "state";
    training.request = "this one";
    StopsAtBatch stopped(batches);
    EXPECT_THROW((void)Train(training, config, stopped), Interrupted);
    EXPECT_EQ(ListCheckpoints(training.keep).size(), 1u) << batches;
    const int64_t done = (batches - 1) / 4 * 5 + kStepsAfter[(batches - 1) % 4];
    Counted rest;
    EXPECT_TRUE(Same(Train(training, config, rest), undisturbed)) << batches;
    EXPECT_EQ(rest.first, done);

    training.crops = Training(1, /*at_a_time=*/4).crops;
    Counted others;
    EXPECT_CLOSE(Train(training, config, others).weight, undisturbed.weight, 1e-3) << batches;
    EXPECT_EQ(others.first, done);

    training.request = "another one";
    training.crops = Training().crops;
    Counted again;
    EXPECT_TRUE(Same(Train(training, config, again), undisturbed));
    EXPECT_EQ(again.first, 0);
  }
}

TEST_F(ProbeOnCropsTest, KilledItGoesOnFromTheLastState) {
  struct Killed : Counted {
    using Counted::Counted;
    void Update(int64_t done, double wait_share, std::string_view note) override {
      Counted::Update(done, wait_share, note);
      if (updates > most) throw std::runtime_error("killed");
    }
    bool Stopped() const override { return false; }
  };
  const ProbeConfig config = Config();
  const Probe undisturbed = Train(Training(), config);
  for (const auto& [steps, kept] : std::map<int64_t, int64_t>{{1, 0}, {2, 1}, {5, 4}, {6, 4}, {7, 6}, {15, 14}}) {
    const TemporaryFolder place;
    CropTraining training = Training();
    training.keep = place.path() / "state";
    training.request = "this one";
    training.keep_seconds = 0;
    Killed killed(steps);
    EXPECT_THROW((void)Train(training, config, killed), std::runtime_error);
    Counted rest;
    EXPECT_TRUE(Same(Train(training, config, rest), undisturbed)) << steps;
    EXPECT_EQ(rest.first, kept) << steps;
    EXPECT_EQ(ListCheckpoints(training.keep).size(), 1u) << steps;
  }
}

TEST_F(ProbeOnCropsTest, ARateThatIsTooLargeEndsItOnlyWhereItIsAlone) {
  const double huge = std::numeric_limits<double>::infinity();
  EXPECT_THROW((void)Train(Training(), Config({huge})), Error);
  const Probe both = Train(Training(), Config({huge, 0.2}));
  EXPECT_TRUE(at::equal(both.weight[1], Train(Training(), Config({0.2})).weight[0]));
}

TEST_F(ProbeOnCropsTest, AnotherPictureStandsInForABadOne) {
  const TemporaryFolder place;
  for (const char* name : {"a/0.png", "a/1.png", "b/0.png", "b/1.png"}) {
    Image image(kSize, kSize);
    Random random(Seed(1).With(name));
    for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random.Below(256));
    WriteFile(place.path() / name, EncodePng(image));
  }
  WriteFile(place.path() / "a/1.png", "no picture");
  CropTraining training = Training();
  training.labelled = OpenSource(place.path().string());
  Probe probe = Start(Config());
  SkippedLog skipped;
  Progress silent;
  TrainProbeOnCrops(probe, *encoder_, training, Config(), skipped, silent);
  ASSERT_EQ(skipped.rows().size(), 1u);
  EXPECT_EQ(skipped.rows()[0].first, "a/1.png");
  training.crops.strict = true;
  EXPECT_THROW(TrainProbeOnCrops(probe, *encoder_, training, Config(), skipped, silent), Error);
}

}  // namespace
}  // namespace genview
