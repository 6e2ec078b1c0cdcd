#include "genview/eval/finetune.h"

#include <gtest/gtest.h>

#include "genview/base/error.h"
#include "genview/data/source.h"
#include "genview/tensor/safetensors.h"
#include "genview/train/checkpoint.h"
#include "tests/temporary_folder.h"

namespace genview {
namespace {

class FinetuneTest : public testing::Test {
 protected:
  FinetuneTest() {
    BackboneConfig backbone;
    backbone.width = 4.0 / 64;
    backbone.small_stem = true;
    backbone.image_size = 8;
    auto net = MakeBackbone(backbone);
    net->Init(Seed(0));
    WriteEncoder(folder_ / "encoder.safetensors", *net, backbone);
    for (const char* part : {"train", "test"}) {
      for (const auto& [label, colour] : std::map<std::string, int>{{"dark", 30}, {"light", 200}}) {
        for (uint64_t i = 0; i < 10; ++i) {
          Image image(8, 8);
          Random random(Seed(9).With(part).With(label).With(i));
          for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(colour + random.Below(40));
          WriteFile(folder_ / part / label / Format("{}_{}.png", label, i), EncodePng(image));
        }
      }
    }
    config_.inputs.train = (folder_ / "train").string();
    config_.inputs.test = (folder_ / "test").string();
    config_.inputs.checkpoint = folder_ / "encoder.safetensors";
    config_.inputs.out = folder_ / "finetune.json";
    config_.inputs.run.precision = Precision::kFp32;
    config_.epochs = 30;  // enough for the running statistics to follow
    config_.batch = 8;    // all of a fraction of 0.4: norms see both classes
    config_.lr = 0.01;
    config_.head_lr = 0.1;
  }

  // `config` is what the file says of the network.
  static void WriteEncoder(const Path& path, Backbone& net, const BackboneConfig& config) {
    const Json meta = {{"format", 1},
                       {"kind", "pretrain"},
                       {"backbone", FieldsToJson(config)},
                       {"preprocess", Preprocess{.size = 8, .resize_shortest = 8}.ToJson()}};
    WriteSafetensors(path, NamedTensors(net.Weights(), "encoder."), {{"genview", meta.dump()}});
  }
  static BackboneConfig SmallVit() {
    BackboneConfig backbone;
    backbone.type = "vit-tiny";
    backbone.width = 1.0 / 16;
    backbone.layers = 2;
    backbone.image_size = 8;
    backbone.patch_size = 4;
    return backbone;
  }

  const TemporaryFolder place_;
  const Path folder_ = place_.path();
  FinetuneConfig config_;
  Progress silent_;
};

TEST_F(FinetuneTest, LearnsFromAFewLabelsAndSaysWhich) {
  config_.inputs.fraction = 0.4;
  const EvalResult result = EvalFinetune(config_, silent_);
  EXPECT_EQ(result.kind, "finetune");
  EXPECT_EQ(result.top1, 100);
  EXPECT_EQ(result.images, 20);
  EXPECT_EQ(result.settings["train_images"], 8);
  const auto images = ReadLines(folder_ / "finetune-images.txt");
  ASSERT_EQ(images.size(), 8u);
  EXPECT_EQ(std::count_if(images.begin(), images.end(), [](const auto& id) { return id.starts_with("dark/"); }), 4);

  // Again, from nothing and with other threads: the same bytes. Then the same labels as a list: the same score.
  const std::string first = ReadFile(config_.inputs.out);
  std::filesystem::remove(config_.inputs.out);
  config_.inputs.run.threads = 3;
  EvalFinetune(config_, silent_);
  EXPECT_EQ(ReadFile(config_.inputs.out), first);
  config_.inputs.fraction = 1;
  config_.list = folder_ / "finetune-images.txt";
  config_.inputs.out = folder_ / "listed.json";
  const EvalResult listed = EvalFinetune(config_, silent_);
  EXPECT_EQ(listed.settings["loss"], result.settings["loss"]);
  EXPECT_EQ(ReadFile(folder_ / "listed-images.txt"), ReadFile(folder_ / "finetune-images.txt"));
}

// Asks to stop once so many steps are done, and knows with which one it began.
struct StopsAfter : Progress {
  explicit StopsAfter(int64_t stop_after) : most(stop_after) {}
  void Update(int64_t done, double, std::string_view) override {
    if (first < 0) first = done;
    latest = done;
  }
  bool Stopped() const override { return latest >= most; }
  int64_t most, first = -1, latest = 0;
};
constexpr int64_t kNever = int64_t{1} << 40;

TEST_F(FinetuneTest, StoppedAnywhereTheSameCallEndsWithTheSameBytes) {
  WriteFile(folder_ / "train/dark/dark_2.png", "no picture");
  const Path state = folder_ / ".finetune.json.state";
  config_.epochs = 3;  // of 3 steps
  BackboneConfig vit = SmallVit();
  auto net = MakeBackbone(vit);
  net->Init(Seed(0));
  WriteEncoder(folder_ / "vit.safetensors", *net, vit);
  for (const double drop_path : {0.0, 0.5}) {
    config_.drop_path = drop_path;
    if (drop_path > 0) config_.inputs.checkpoint = folder_ / "vit.safetensors";
    std::filesystem::remove(config_.inputs.out);
    EvalFinetune(config_, silent_);
    const std::string bytes = ReadFile(config_.inputs.out), bad = ReadFile(folder_ / "skipped.tsv");
    for (const int64_t steps : {1, 2, 3, 4, 9}) {
      std::filesystem::remove(config_.inputs.out);
      std::filesystem::remove(folder_ / "skipped.tsv");
      StopsAfter stopped(steps), rest(kNever);
      EXPECT_THROW(EvalFinetune(config_, stopped), Interrupted);
      EXPECT_EQ(stopped.latest, steps);
      EXPECT_EQ(ListCheckpoints(state).size(), 1u);
      EXPECT_FALSE(std::filesystem::exists(config_.inputs.out));
      EvalFinetune(config_, rest);
      EXPECT_EQ(rest.first, steps);
      EXPECT_EQ(ReadFile(config_.inputs.out), bytes) << steps << " steps, drop path " << drop_path;
      EXPECT_EQ(ReadFile(folder_ / "skipped.tsv"), bad);
      EXPECT_FALSE(std::filesystem::exists(state));
    }
  }
}

TEST_F(FinetuneTest, StateOfOthersIsPassedOver) {
  config_.epochs = 2;
  StopsAfter stopped(2), other(kNever), rest(kNever);
  EXPECT_THROW(EvalFinetune(config_, stopped), Interrupted);
  FinetuneConfig slower = config_;
  slower.lr = 0.001;
  EvalFinetune(slower, other);
  EXPECT_EQ(other.first, 0);

  // A result that is there needs no state, wherever it comes from.
  WriteFile(folder_ / ".finetune.json.state/step-0000000003.safetensors", "left behind");
  EvalFinetune(slower, silent_);
  EXPECT_FALSE(std::filesystem::exists(folder_ / ".finetune.json.state"));

  // Without a result file there is no place for a state.
  config_.inputs.out.clear();
  EXPECT_THROW(EvalFinetune(config_, stopped), Interrupted);
  EvalFinetune(config_, rest);
  EXPECT_EQ(rest.first, 0);
}

TEST_F(FinetuneTest, UnderStrictAStateThatLeftPicturesOutIsPassedOver) {
  WriteFile(folder_ / "train/dark/dark_2.png", "no picture");
  config_.epochs = 2;
  StopsAfter stopped(6);  // trained to the end, not tested
  EXPECT_THROW(EvalFinetune(config_, stopped), Interrupted);
  config_.inputs.run.strict = true;
  EXPECT_THROW(EvalFinetune(config_, silent_), Error);
}

TEST_F(FinetuneTest, FileNamesAloneWillDo) {
  WriteFile(folder_ / "one-percent.txt", "light_3.png\ndark_1.png\nlight_4.png\ndark_9.png\n");
  config_.list = folder_ / "one-percent.txt";
  config_.epochs = 1;
  const EvalResult result = EvalFinetune(config_, silent_);
  EXPECT_EQ(result.settings["train_images"], 4);
  EXPECT_EQ(ReadLines(folder_ / "finetune-images.txt")[0], "dark/dark_1.png");
}

TEST_F(FinetuneTest, BadPicturesAreCountedNamedAndRefusedUnderStrict) {
  WriteFile(folder_ / "train/dark/dark_2.png", "no picture");
  WriteFile(folder_ / "test/light/light_7.png", "no picture");
  config_.epochs = 1;  // the last batch is not full, and used
  EXPECT_EQ(SkippedOf(EvalFinetune(config_, silent_)), 2);
  const auto bad = ReadLines(folder_ / "skipped.tsv");
  ASSERT_EQ(bad.size(), 3u);
  EXPECT_TRUE(bad[1].starts_with("dark/dark_2.png\t"));
  EXPECT_TRUE(bad[2].starts_with("light/light_7.png\t"));
  config_.inputs.run.strict = true;
  EXPECT_THROW(EvalFinetune(config_, silent_), Error);
}

TEST_F(FinetuneTest, WrongListsAreRefusedBeforeTraining) {
  const auto complaint = [&](const std::string& text) -> std::string {
    WriteFile(folder_ / "list.txt", text);
    config_.list = folder_ / "list.txt";
    try {
      EvalFinetune(config_, silent_);
    } catch (const Error& error) {
      return error.text().what;
    }
    return "";
  };
  EXPECT_NE(
      complaint("n01440764_10.JPEG\nlight_3.png\nn01440764_11.JPEG\n").find("2 of the list's pictures are not among"),
      std::string::npos);
  EXPECT_NE(complaint("\n").find("names no picture"), std::string::npos);
  config_.inputs.fraction = 0.5;
  EXPECT_NE(complaint("light_3.png\n").find("both a list and a share"), std::string::npos);
}

TEST_F(FinetuneTest, PicturesThatGiveNoScoreAreRefusedBeforeTraining) {
  struct Listening : Progress {
    void Begin(std::string_view, int64_t, std::string_view) override { ++begun; }
    int begun = 0;
  } progress;
  const auto complaint = [&]() -> std::string {
    try {
      EvalFinetune(config_, progress);
    } catch (const Error& error) {
      return error.text().what;
    }
    return "";
  };
  config_.inputs.test = (folder_ / "test/light").string();
  EXPECT_NE(complaint().find("none of the pictures has a class"), std::string::npos);
  config_.inputs.test = (folder_ / "test").string();
  std::filesystem::rename(folder_ / "test/light", folder_ / "test/bright");
  EXPECT_NE(complaint().find("\"bright\" is not among"), std::string::npos);
  std::filesystem::rename(folder_ / "test/bright", folder_ / "test/light");
  std::filesystem::remove_all(folder_ / "train/dark");
  WriteFile(folder_ / "list.txt", "light_3.png\nlight_4.png\n");
  config_.list = folder_ / "list.txt";
  EXPECT_NE(complaint().find("of one class"), std::string::npos);
  EXPECT_EQ(progress.begun, 0);
}

TEST(FinetuneSchedule, FallsAtThreeAndFourFifthsOfTheSteps) {
  const auto rates = [](int64_t steps) {
    std::vector<double> all;
    for (int64_t step = 0; step < steps; ++step) all.push_back(FinetuneSchedule(steps).At(step));
    return all;
  };
  EXPECT_EQ(rates(1), std::vector<double>{1});
  EXPECT_EQ(rates(2), (std::vector<double>{1, 1}));
  EXPECT_EQ(rates(5), (std::vector<double>{1, 1, 1, 0.2, 0.2 * 0.2}));
  EXPECT_EQ(rates(7), (std::vector<double>{1, 1, 1, 1, 1, 0.2, 0.2 * 0.2}));
}

TEST_F(FinetuneTest, DropPathIsForAVit) {
  config_.drop_path = 0.2;
  EXPECT_THROW(EvalFinetune(config_, silent_), UsageError);
  BackboneConfig backbone = SmallVit();
  auto net = MakeBackbone(backbone);
  net->Init(Seed(0));
  config_.inputs.checkpoint = folder_ / "vit.safetensors";
  WriteEncoder(config_.inputs.checkpoint, *net, backbone);
  config_.epochs = 2;
  const auto loss = [&](double rate) {
    config_.drop_path = rate;
    return EvalFinetune(config_, silent_).settings["loss"].get<double>();
  };
  const double dropped = loss(0.5);
  std::filesystem::remove(config_.inputs.out);
  EXPECT_EQ(loss(0.5), dropped);  // drawn from the seed
  EXPECT_NE(loss(0), dropped);
}

// What the pretraining of MoCo v3 keeps fixed is trained as in any other ViT.
TEST_F(FinetuneTest, TheWholeOfAMocoV3VitIsTrained) {
  BackboneConfig backbone = SmallVit();
  backbone.positions = VitPositions::kSinCos;
  backbone.frozen_patch = true;
  auto net = MakeBackbone(backbone);
  net->Init(Seed(0));
  config_.epochs = 2;
  config_.lr = 0.1;
  std::vector<double> losses;
  for (const bool fixed : {true, false}) {
    backbone.positions = fixed ? VitPositions::kSinCos : VitPositions::kLearned;
    backbone.frozen_patch = fixed;
    config_.inputs.checkpoint = folder_ / Format("vit-{}.safetensors", fixed ? "fixed" : "free");
    WriteEncoder(config_.inputs.checkpoint, *net, backbone);
    std::filesystem::remove(config_.inputs.out);
    losses.push_back(EvalFinetune(config_, silent_).settings["loss"].get<double>());
  }
  EXPECT_EQ(losses[0], losses[1]);
}

}  // namespace
}  // namespace genview
