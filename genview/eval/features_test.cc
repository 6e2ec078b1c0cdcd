#include "genview/eval/features.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "genview/base/error.h"
#include "genview/data/source.h"
#include "genview/eval/bench_features.h"
#include "genview/models/encoder.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

namespace fs = std::filesystem;

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

FeaturesConfig Config(const std::string& name) {
  const Path folder = Path(testing::TempDir()) / ("features_" + name);
  fs::remove_all(folder);
  const auto net =
      MakeBackbone(Json{{"type", "resnet18"}, {"width", 1.0 / 64}, {"small_stem", true}, {"image_size", 16}});
  net->Init(Seed(2));
  const Json meta = {{"backbone", FieldsToJson(net->config())},
                     {"preprocess", Preprocess{.size = 16, .resize_shortest = 16}.ToJson()}};
  WriteSafetensors(folder / "e.safetensors", NamedTensors(net->Weights(), "encoder."), {{"genview", meta.dump()}});
  FeaturesConfig c;
  c.images = "shapes:count=22,size=16,seed=3";
  c.encoder = folder / "e.safetensors";
  c.out = folder / "out.safetensors";
  c.tokens = true;
  c.run.device = DeviceChoice::kCpu;
  c.run.precision = Precision::kFp32;
  c.run.batch = 4;
  c.run.threads = 2;
  return c;
}

size_t FilesIn(const Path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(ExtractFeatures, WritesWhatTheEncoderGives) {
  const FeaturesConfig config = Config("values");
  Progress quiet;
  const FeaturesSummary done = ExtractFeatures(config, quiet);
  EXPECT_EQ(done.images, 22);
  EXPECT_EQ(done.embedding_width, 8);
  const WeightMap file = ReadSafetensors(config.out);
  EXPECT_EQ(file.tensors().size(), 2u);
  EXPECT_EQ(file.At("tokens").sizes(), (at::IntArrayRef{22, 4, 8}));
  EXPECT_TRUE(
      at::allclose(file.At("tokens").mean(1), file.At("embeddings"), 1e-4, 1e-5));  // a ResNet pools its last map
  const Json ids = ParseJson(file.Metadata("ids"), "ids"), paths = ParseJson(file.Metadata("paths"), "paths");
  const Json labels = ParseJson(file.Metadata("labels"), "labels");
  const auto source = OpenSource(config.images);
  ASSERT_EQ(ids.size(), 22u);
  for (int64_t i = 0; i < 22; ++i) {
    EXPECT_EQ(ids[static_cast<size_t>(i)], source->item(i).id);
    EXPECT_EQ(paths[static_cast<size_t>(i)], source->item(i).path);
    EXPECT_EQ(labels[static_cast<size_t>(i)], source->item(i).label);
  }
  const auto encoder = Encoder::Open(config.encoder);
  const Preprocess& p = encoder->preprocess();
  for (const int64_t i : {0, 21}) {
    Tensor pixels = at::empty({1, 3, p.size, p.size});
    Normalise(ApplyGeometry(p, *source->Read(i)), p.mean, p.std,
              {pixels.data_ptr<float>(), static_cast<size_t>(pixels.numel())});
    EXPECT_TRUE(at::allclose(encoder->Encode(pixels, false).embeddings[0], file.At("embeddings")[i], 1e-4, 1e-5));
  }
  EXPECT_EQ(FilesIn(config.out.parent_path()), 2u);  // the encoder and the result
}

// By all pictures, not by those that could be read: what the header has room for is decided before.
TEST(ExtractFeatures, PathsAreLeftOutWhereNamesAreTooLong) {
  FeaturesConfig config = Config("names");
  const Path pictures = config.out.parent_path() / "pictures";
  const auto shapes = OpenSource("shapes:count=5,size=16,seed=3");
  for (int64_t i = 0; i < 5; ++i) WriteFile(pictures / Format("{}.png", i), *shapes->ReadBytes(i));
  WriteFile(pictures / (std::string(200, 'n') + ".png"), "no picture");
  config.images = pictures.string();
  const auto source = OpenSource(config.images);
  config.most_names = 0;
  for (int64_t i = 0; i < source->size(); ++i)  // one byte too few, and of those that can be read too many
    config.most_names += source->item(i).id.size() + source->item(i).path.size() + 10;
  Counting progress;
  EXPECT_EQ(ExtractFeatures(config, progress).skipped, 1);
  EXPECT_EQ(ReadSafetensors(config.out).metadata().count("paths"), 0u);
  EXPECT_EQ(ParseJson(ReadSafetensors(config.out).Metadata("ids"), "ids").size(), 5u);
  ASSERT_EQ(progress.warnings.size(), 1u);
  EXPECT_NE(progress.warnings[0].find("`paths` is left out"), std::string::npos);
  fs::remove(config.out);
  ++config.most_names;
  EXPECT_EQ(ExtractFeatures(config, progress).skipped, 1);
  EXPECT_EQ(ParseJson(ReadSafetensors(config.out).Metadata("paths"), "paths").size(), 5u);
  EXPECT_EQ(progress.warnings.size(), 1u);
}

TEST(ExtractFeatures, GoesOnAfterAnInterruptionWithTheSameBytes) {
  for (const bool tokens : {false, true}) {
    FeaturesConfig config = Config("resume");
    config.tokens = tokens;
    Counting whole, stopped(2), rest;
    ExtractFeatures(config, whole);
    const std::string bytes = ReadFile(config.out);
    fs::remove(config.out);
    EXPECT_THROW(ExtractFeatures(config, stopped), Interrupted);
    EXPECT_FALSE(fs::exists(config.out));
    ExtractFeatures(config, rest);
    EXPECT_EQ(whole.updates, 6);
    EXPECT_LT(rest.updates, whole.updates);
    EXPECT_EQ(ReadFile(config.out), bytes);
    EXPECT_EQ(FilesIn(config.out.parent_path()), 2u);
  }
}

TEST(ExtractFeatures, ATornPartIsMadeAgain) {
  const FeaturesConfig config = Config("torn");
  Counting whole, stopped(2), rest;
  ExtractFeatures(config, whole);
  const std::string bytes = ReadFile(config.out);
  fs::remove(config.out);
  EXPECT_THROW(ExtractFeatures(config, stopped), Interrupted);
  const Path part = config.out.parent_path() / ".out.safetensors.column1";
  ASSERT_TRUE(fs::exists(part));
  fs::resize_file(part, 10);  // less than the journal says
  ExtractFeatures(config, rest);
  EXPECT_EQ(rest.updates, 6);
  EXPECT_EQ(ReadFile(config.out), bytes);
}

TEST(ExtractFeatures, IsNotDoneTwiceAndFollowsItsInputs) {
  FeaturesConfig config = Config("twice");
  Counting progress;
  ExtractFeatures(config, progress);
  const FeaturesSummary again = ExtractFeatures(config, progress);
  EXPECT_TRUE(again.up_to_date);
  EXPECT_EQ(again.images, 22);
  EXPECT_EQ(progress.updates, 6);
  config.tokens = false;
  EXPECT_FALSE(ExtractFeatures(config, progress).up_to_date);
  EXPECT_EQ(ReadSafetensors(config.out).tensors().size(), 1u);
  WriteFile(config.out, "not a weights file");
  EXPECT_FALSE(ExtractFeatures(config, progress).up_to_date);
}

TEST(BenchFeatures, ComputesOnTheThreadsItIsGiven) {
  const FeaturesConfig features = Config("bench");
  BenchFeaturesConfig config;
  config.images = features.images;
  config.encoder = features.encoder;
  config.rounds = 1;
  config.run = features.run;
  config.run.threads = 1;
  const int before = at::get_num_threads();
  at::set_num_threads(2);
  Progress quiet;
  BenchFeatures(config, quiet);
  EXPECT_EQ(at::get_num_threads(), 1);
  at::set_num_threads(before);
}

TEST(ExtractFeatures, BadPicturesLeaveNoRow) {
  FeaturesConfig config = Config("bad");
  const auto shapes = OpenSource("shapes:count=9,size=16,seed=1");
  const Path images = config.out.parent_path() / "images";
  for (int64_t i = 0; i < 9; ++i) {
    WriteFile(images / Format("{}.png", i), i == 0 || i == 8 ? "not a picture" : EncodePng(*shapes->Read(i)));
  }
  config.images = images.string();
  Progress quiet;
  const FeaturesSummary done = ExtractFeatures(config, quiet);
  EXPECT_EQ(done.images, 7);
  EXPECT_EQ(done.skipped, 2);
  const WeightMap file = ReadSafetensors(config.out);
  EXPECT_EQ(file.At("embeddings").size(0), 7);
  EXPECT_EQ(ParseJson(file.Metadata("ids"), "ids")[0], "1.png");
  EXPECT_NE(ReadFile(config.out.parent_path() / "skipped.tsv").find("8.png\t"), std::string::npos);
  config.run.strict = true;  // also of what is there already
  EXPECT_THROW(ExtractFeatures(config, quiet), Error);
  config.run.strict = false;
  EXPECT_TRUE(ExtractFeatures(config, quiet).up_to_date);
}

TEST(ExtractFeatures, StrictEndsAlsoWhatAnotherCallBegan) {
  FeaturesConfig config = Config("strict");
  const auto shapes = OpenSource("shapes:count=22,size=16,seed=1");
  const Path images = config.out.parent_path() / "images";
  for (int64_t i = 0; i < 22; ++i) {
    WriteFile(images / Format("{:02}.png", i), i == 0 ? "not a picture" : EncodePng(*shapes->Read(i)));
  }
  config.images = images.string();
  Counting stopped(2), rest;
  EXPECT_THROW(ExtractFeatures(config, stopped), Interrupted);
  config.run.strict = true;
  EXPECT_THROW(ExtractFeatures(config, rest), Error);
  EXPECT_FALSE(fs::exists(config.out));
  config.run.strict = false;
  EXPECT_EQ(ExtractFeatures(config, rest).skipped, 1);
}

}  // namespace
}  // namespace genview
