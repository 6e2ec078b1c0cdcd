// Every method on every kind of encoder: trains, and a run that died goes on to the same bytes.
#include <gtest/gtest.h>

#include "genview/base/files.h"
#include "genview/pretrain/pretrain.h"
#include "tests/temporary_folder.h"

namespace genview {
namespace {

struct Died {};

class DiesAfter : public Progress {
 public:
  explicit DiesAfter(int64_t step) : step_(step) {}
  void Update(int64_t done, double, std::string_view) override {
    if (done == step_) throw Died();
  }

 private:
  int64_t step_;
};

using MethodOnBackbone = std::tuple<MethodKind, const char*>;
class MethodsOnBackbones : public testing::TestWithParam<MethodOnBackbone> {};

TEST_P(MethodsOnBackbones, ResumeInTheMiddleIsExact) {
  const TemporaryFolder place;
  const Path& folder = place.path();
  PretrainConfig config;
  config.data = "shapes:count=26,size=16,seed=3";
  config.method = std::get<0>(GetParam());
  config.backbone = std::get<1>(GetParam());
  config.width = config.backbone.starts_with("vit") ? 1.0 / 16 : 2.0 / 64;
  config.small_stem = true;
  config.size = 12;
  config.patch_size = 4;
  config.epochs = 1;
  config.batch = 8;
  config.queue = 16;
  config.projector_hidden = config.predictor_hidden = 10;
  config.projector_output = 8;
  config.swav = {.prototypes = 7, .frozen_epochs = 0.3, .queue = 8, .queue_from_epoch = 0};
  config.swav.local_crops = config.backbone == std::string("resnet18") ? 2 : 0;
  config.swav.local_size = 8;
  config.positives = 3;
  config.drop_path = config.backbone.starts_with("vit") ? 0.5 : 0;
  config.warmup_epochs = 0;
  config.checkpoint_steps = 1;
  config.run.threads = 2;
  config.run.precision = Precision::kFp32;
  const auto run = [&](const std::string& name, int64_t dies_after) {
    config.out = (folder / name).string();
    DiesAfter progress(dies_after);
    return Pretrain(config, progress);
  };
  const PretrainSummary whole = run("whole", -1);
  EXPECT_EQ(whole.steps, 3);
  EXPECT_TRUE(std::isfinite(whole.loss));
  for (const int64_t step : {1, 2}) EXPECT_THROW(run("died", step), Died);
  run("died", -1);
  for (const char* file : {"encoder.safetensors", "summary.json", "checkpoints/step-0000000003.safetensors"}) {
    EXPECT_EQ(ReadFile(folder / "whole" / file), ReadFile(folder / "died" / file)) << file;
  }
}

INSTANTIATE_TEST_SUITE_P(All, MethodsOnBackbones,
                         testing::Combine(testing::Values(MethodKind::kMocoV2, MethodKind::kSimClr,
                                                          MethodKind::kSimSiam, MethodKind::kByol, MethodKind::kSwav,
                                                          MethodKind::kMocoV3, MethodKind::kMultiPositive),
                                          testing::Values("resnet18", "vit-tiny")),
                         [](const auto& param) {
                           std::string name = EnumName(std::get<0>(param.param)) + "_" + std::get<1>(param.param);
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace genview
