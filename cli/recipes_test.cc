// Every ready recipe is read by the command that it is for.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cli/run_plan.h"
#include "cli/stage_plan.h"
#include "cli/stage_progress.h"
#include "genview/generator/faithfulness.h"
#include "genview/generator/tower.h"
#include "genview/generator/train.h"
#include "genview/pretrain/pretrain.h"
#include "tests/source_dir.h"

namespace genview {
namespace {

const Path kRecipes = SourceDir() / "recipes";

template <class Config>
void ExpectConfig(const std::string& name) {
  const TomlDocument document = ReadToml(kRecipes / name);
  Config config;
  EXPECT_NO_THROW(ReadFields(config, document.values, {document.file, "", &document.lines})) << name;
}

TEST(Recipes, AllAreRead) {
  int runs = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(kRecipes)) {
    if (entry.path().extension() != ".toml") continue;
    const std::string name = entry.path().filename().string();
    if (name == "models-tower.toml") ExpectConfig<TowerConfig>(name);
    else if (name == "models-unclip.toml" || name == "own-generator.toml") ExpectConfig<GeneratorConfig>(name);
    else if (name == "models-measure.toml") ExpectConfig<FaithfulnessConfig>(name);
    else {
      const RunPlan plan = MakePlan(ReadRecipeFile<Recipe>(entry.path()), {});
      EXPECT_FALSE(plan.arms.empty()) << name;
      EXPECT_EQ(plan.folder, Path("runs") / plan.name) << name;
      ++runs;
    }
  }
  EXPECT_GE(runs, 3);
}

// In bf16 a processor that does not multiply it takes up to 300 times as long.
TEST(Recipes, OfTheShippedModelsTakeWhatTheProcessorMultiplies) {
  TowerConfig tower;
  ReadFields(tower, ReadToml(kRecipes / "models-tower.toml").values, {"models-tower.toml", "", nullptr});
  EXPECT_EQ(tower.run.precision, Precision::kAuto);
  GeneratorConfig generator;
  ReadFields(generator, ReadToml(kRecipes / "models-unclip.toml").values, {"models-unclip.toml", "", nullptr});
  EXPECT_EQ(generator.run.precision, Precision::kFp32);
}

// The recipe's own pretraining at a size that takes no time: two updates. Returns what was trained.
PretrainConfig ExpectToTrain(const RunPlan& plan, const Path& out) {
  PretrainConfig config = plan.arms[0].recipe.pretrain.config;
  config.data = "shapes:count=18,size=16";
  config.out = (out / plan.name).string();
  config.width = config.backbone.starts_with("vit") ? 1.0 / 16 : 1.0 / 32;
  config.small_stem = true;
  config.size = 16;
  config.patch_size = 8;
  config.epochs = 1;
  config.batch = 8;
  config.queue = 16;
  config.projector_hidden = config.projector_output = config.predictor_hidden = 8;
  config.warmup_epochs = 0;
  config.lr = 0.01;  // those of batches of 4096 throw so small an encoder off
  config.final_lr = 0;
  config.swav.prototypes = 5;
  config.swav.local_size = 8;
  config.swav.queue = std::min<int64_t>(config.swav.queue, 8);
  config.run.threads = 1;
  config.run.precision = Precision::kFp32;
  Progress silent;
  const PretrainSummary summary = Pretrain(config, silent);
  EXPECT_EQ(summary.steps, 2) << plan.name;
  EXPECT_TRUE(std::isfinite(summary.loss)) << plan.name;
  return config;
}

// The pretrainings of the papers, with what was published for each.
const Path kPapers = kRecipes / "imagenet";

RunPlan PlanOfPaper(const std::string& name) {
  return MakePlan(ReadRecipeFile<Recipe>(kPapers / Format("{}.toml", name)), {});
}

std::set<std::string> NamesOfPapers() {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kPapers)) {
    const std::string name = entry.path().stem().string();
    if (name != "common") names.insert(name);
  }
  return names;
}

// Of a recipe that fine-tunes on few labels: its pretraining is that of another.
bool IsSemiSupervised(const std::string& name) { return name.starts_with("semi-"); }

// At a size that takes no time: two updates of each, and two epochs of every probe that some of them have.
TEST(Recipes, PretrainingsOfThePapersTrain) {
  int trained = 0;
  std::set<std::string> probed;
  const Path out = Path(testing::TempDir()) / "genview-papers";
  std::filesystem::remove_all(out);
  for (const std::string& name : NamesOfPapers()) {
    const RunPlan plan = PlanOfPaper(name);
    ASSERT_EQ(plan.arms.size(), 3u) << name;
    const PretrainConfig& own = plan.arms[0].recipe.pretrain.config;
    EXPECT_EQ(own.drop_path, 0) << name;
    const auto& finetune = plan.arms[0].recipe.eval.finetune;
    EXPECT_EQ(finetune.enabled, IsSemiSupervised(name)) << name;
    EXPECT_EQ(finetune.config.drop_path, own.backbone.starts_with("vit") ? 0.1 : 0) << name;
    if (IsSemiSupervised(name)) continue;
    const PretrainConfig config = ExpectToTrain(plan, out);
    ++trained;
    LinearConfig probe = plan.arms[0].recipe.eval.linear.config;
    if (!probed.insert(config.backbone + FieldsToJson(probe).dump()).second) continue;
    probe.inputs.train = probe.inputs.test = config.data;
    probe.inputs.checkpoint = Path(config.out) / "encoder.safetensors";
    probe.inputs.run = config.run;
    probe.epochs = 2;
    probe.batch = 8;
    Progress silent;
    EXPECT_EQ(EvalLinear(probe, silent).images, 18) << name;
  }
  EXPECT_GE(trained, 31);
  EXPECT_GE(probed.size(), 8u);
  std::filesystem::remove_all(out);
}

struct PaperRow {
  const char *file, *method, *backbone, *optimizer;
  int64_t epochs, batch;
  double lr, weight_decay, warmup_epochs, warmup_start;
  double temperature, ema;  // 0: the method has none
  bool per_epoch, zero_init_residual;
};

// clang-format off
const PaperRow kPaperRows[] = {
    {"moco-v2-resnet50", "moco-v2", "resnet50", "sgd", 200, 256, 0.03, 1e-4, 0, 0, 0.2, 0.999, true, false},
    {"moco-v2-resnet50-800", "moco-v2", "resnet50", "sgd", 800, 256, 0.03, 1e-4, 0, 0, 0.2, 0.999, true, false},
    {"simclr-resnet50", "simclr", "resnet50", "lars-mmpretrain", 200, 4096, 4.8, 1e-6, 10, 1e-4, 0.1, 0, true, true},
    {"simclr-resnet50-800", "simclr", "resnet50", "lars-mmpretrain", 800, 4096, 4.8, 1e-6, 10, 1e-4, 0.1, 0, true, true},
    {"simclr-resnet50-1000", "simclr", "resnet50", "lars-simclr", 1000, 4096, 4.8, 1e-6, 10, 0, 0.1, 0, false, true},
    {"simsiam-resnet50", "simsiam", "resnet50", "sgd", 200, 256, 0.05, 1e-4, 0, 0, 0, 0, true, true},
    {"simsiam-resnet50-100", "simsiam", "resnet50", "sgd", 100, 256, 0.05, 1e-4, 0, 0, 0, 0, true, true},
    {"simsiam-resnet50-100-batch-512", "simsiam", "resnet50", "sgd", 100, 512, 0.1, 1e-4, 0, 0, 0, 0, true, true},
    {"byol-resnet50", "byol", "resnet50", "lars-mmpretrain", 200, 4096, 4.8, 1e-6, 10, 1e-4, 0, 0.99, true, false},
    {"byol-resnet50-40", "byol", "resnet50", "lars", 40, 4096, 7.2, 1e-6, 10, 0, 0, 0.97, false, false},
    {"byol-resnet50-100", "byol", "resnet50", "lars", 100, 4096, 7.2, 1e-6, 10, 0, 0, 0.99, false, false},
    {"byol-resnet50-300", "byol", "resnet50", "lars", 300, 4096, 4.8, 1e-6, 10, 0, 0, 0.99, false, false},
    {"byol-resnet50-1000", "byol", "resnet50", "lars", 1000, 4096, 3.2, 1.5e-6, 10, 0, 0, 0.996, false, false},
    {"swav-resnet50", "swav", "resnet50", "larc", 200, 256, 0.6, 1e-6, 0, 0, 0.1, 0, false, false},
    {"swav-resnet50-queue-400", "swav", "resnet50", "larc", 400, 256, 0.6, 1e-6, 0, 0, 0.1, 0, false, false},
    {"swav-resnet50-mmpretrain", "swav", "resnet50", "larc", 200, 256, 0.6, 1e-6, 0, 0, 0.1, 0, false, true},
    {"swav-resnet50-100", "swav", "resnet50", "larc", 100, 4096, 4.8, 1e-6, 10, 0.0625, 0.1, 0, false, false},
    {"swav-resnet50-200", "swav", "resnet50", "larc", 200, 4096, 4.8, 1e-6, 10, 0.0625, 0.1, 0, false, false},
    {"swav-resnet50-400", "swav", "resnet50", "larc", 400, 4096, 4.8, 1e-6, 10, 0.0625, 0.1, 0, false, false},
    {"swav-resnet50-800", "swav", "resnet50", "larc", 800, 4096, 4.8, 1e-6, 10, 0.0625, 0.1, 0, false, false},
    {"swav-resnet50-two-crops", "swav", "resnet50", "larc", 400, 4096, 4.8, 1e-6, 10, 0.0625, 0.1, 0, false, false},
    {"moco-v3-resnet50", "moco-v3", "resnet50", "lars-mmpretrain", 100, 4096, 9.6, 1e-6, 10, 1e-4, 1, 0.99, false, false},
    {"moco-v3-resnet50-300", "moco-v3", "resnet50", "lars-mmpretrain", 300, 4096, 4.8, 1e-6, 10, 1e-4, 1, 0.99, false, false},
    {"moco-v3-resnet50-800", "moco-v3", "resnet50", "lars-mmpretrain", 800, 4096, 4.8, 1.5e-6, 10, 1e-4, 1, 0.996, false, false},
    {"moco-v3-resnet50-official-100", "moco-v3", "resnet50", "lars", 100, 4096, 9.6, 1e-6, 10, 0, 1, 0.99, false, true},
    {"moco-v3-resnet50-official-300", "moco-v3", "resnet50", "lars", 300, 4096, 4.8, 1e-6, 10, 0, 1, 0.99, false, true},
    {"moco-v3-resnet50-1000", "moco-v3", "resnet50", "lars", 1000, 4096, 4.8, 1.5e-6, 10, 0, 1, 0.996, false, true},
    {"moco-v3-vit-small", "moco-v3", "vit-small", "adamw", 300, 4096, 2.4e-3, 0.1, 40, 1e-4, 0.2, 0.99, false, false},
    {"moco-v3-vit-small-official", "moco-v3", "vit-small", "adamw", 300, 4096, 2.4e-3, 0.1, 40, 0, 0.2, 0.99, false, false},
    {"moco-v3-vit-base", "moco-v3", "vit-base", "adamw", 300, 4096, 2.4e-3, 0.1, 40, 1e-4, 0.2, 0.99, false, false},
    {"moco-v3-vit-base-official", "moco-v3", "vit-base", "adamw", 300, 4096, 2.4e-3, 0.1, 40, 0, 0.2, 0.99, false, false},
};
// clang-format on

TEST(Recipes, PretrainingsOfThePapersHaveTheirNumbers) {
  std::set<std::string> without_row = NamesOfPapers();
  for (const PaperRow& row : kPaperRows) {
    EXPECT_EQ(without_row.erase(row.file), 1u) << row.file;
    const PretrainConfig config = Resolved(PlanOfPaper(row.file).arms[0].recipe.pretrain.config);
    EXPECT_EQ(std::string(EnumName(config.method)), row.method) << row.file;
    EXPECT_EQ(config.backbone, row.backbone) << row.file;
    EXPECT_EQ(std::string(EnumName(config.optimizer)), row.optimizer) << row.file;
    EXPECT_EQ(config.epochs, row.epochs) << row.file;
    EXPECT_EQ(config.batch, row.batch) << row.file;
    EXPECT_DOUBLE_EQ(config.lr, row.lr) << row.file;
    EXPECT_DOUBLE_EQ(config.momentum, 0.9) << row.file;
    EXPECT_DOUBLE_EQ(config.weight_decay, row.weight_decay) << row.file;
    EXPECT_TRUE(config.decay_norms) << row.file;
    EXPECT_EQ(config.schedule, ScheduleKind::kCosine) << row.file;
    EXPECT_DOUBLE_EQ(config.warmup_epochs, row.warmup_epochs) << row.file;
    EXPECT_DOUBLE_EQ(config.warmup_start, row.warmup_start) << row.file;
    EXPECT_DOUBLE_EQ(config.temperature, row.temperature > 0 ? row.temperature : config.temperature) << row.file;
    EXPECT_DOUBLE_EQ(config.ema, row.ema > 0 ? row.ema : config.ema) << row.file;
    EXPECT_EQ(config.per_epoch, row.per_epoch) << row.file;
    EXPECT_EQ(config.zero_init_residual, row.zero_init_residual) << row.file;
    const bool two_crops = row.file == std::string("swav-resnet50-two-crops");
    EXPECT_EQ(config.crop_min, two_crops || config.backbone.starts_with("vit") ? 0.08 : 0.0) << row.file;
    EXPECT_EQ(config.queue, 65536) << row.file;
    EXPECT_EQ(config.size, 224) << row.file;
    if (config.method != MethodKind::kSwav) continue;
    EXPECT_DOUBLE_EQ(config.final_lr, config.lr / 1000) << row.file;
    EXPECT_EQ(config.swav.prototypes, 3000) << row.file;
    EXPECT_EQ(config.swav.epsilon, 0.05) << row.file;
    EXPECT_EQ(config.swav.iterations, 3) << row.file;
    EXPECT_EQ(config.swav.frozen_epochs, 1) << row.file;
    EXPECT_EQ(config.swav.queue, config.batch == 256 ? 3840 : 0) << row.file;
    EXPECT_EQ(config.swav.queue_from_epoch, 15) << row.file;
    EXPECT_EQ(config.swav.local_crops, two_crops ? 0 : 6) << row.file;
    EXPECT_EQ(config.swav.local_size, 96) << row.file;
  }
  EXPECT_EQ(without_row, (std::set<std::string>{"semi-1-percent", "semi-10-percent"}));
}

struct PaperProbe {
  std::set<std::string> files;
  const char* optimizer;
  int64_t epochs, batch;
  double lr, weight_decay;
  ScheduleKind schedule;
  bool per_epoch, nesterov;
  double init;
};

TEST(Recipes, ProbesOfThePapersHaveTheirNumbers) {
  constexpr ScheduleKind kCosine = ScheduleKind::kCosine, kStep = ScheduleKind::kStep;
  // clang-format off
  const std::vector<PaperProbe> probes = {
      {{"moco-v2-resnet50", "moco-v2-resnet50-800"}, "sgd", 100, 256, 30, 0, kStep, true, false, 0.01},
      {{"simclr-resnet50", "simclr-resnet50-800", "simsiam-resnet50", "byol-resnet50", "swav-resnet50-mmpretrain"},
       "lars-mmpretrain", 90, 4096, 1.6, 0, kCosine, true, false, 0.01},
      {{"simsiam-resnet50-100", "simsiam-resnet50-100-batch-512"}, "larc", 90, 4096, 1.6, 0, kCosine, true, false, 0.01},
      {{"swav-resnet50", "swav-resnet50-queue-400", "swav-resnet50-100", "swav-resnet50-200", "swav-resnet50-400",
        "swav-resnet50-800", "swav-resnet50-two-crops"},
       "sgd", 100, 256, 0.3, 1e-6, kCosine, true, false, 0.01},
      {{"moco-v3-resnet50", "moco-v3-resnet50-300", "moco-v3-resnet50-800", "moco-v3-resnet50-official-100",
        "moco-v3-resnet50-official-300", "moco-v3-resnet50-1000"},
       "sgd", 90, 1024, 0.4, 0, kCosine, true, false, 0.01},
      {{"moco-v3-vit-small", "moco-v3-vit-small-official", "moco-v3-vit-base", "moco-v3-vit-base-official"},
       "sgd", 90, 1024, 12, 0, kCosine, true, false, 0.01},
      {{"byol-resnet50-40", "byol-resnet50-100", "byol-resnet50-300", "byol-resnet50-1000"},
       "sgd", 80, 4096, 3.2, 0, kCosine, false, true, 0.01},
      {{"simclr-resnet50-1000"}, "sgd", 90, 4096, 1.6, 1e-6, kCosine, false, true, 0},
  };
  // clang-format on
  std::set<std::string> without_probe = NamesOfPapers();
  for (const PaperProbe& probe : probes) {
    for (const std::string& name : probe.files) {
      EXPECT_EQ(without_probe.erase(name), 1u) << name;
      const auto part = PlanOfPaper(name).arms[0].recipe.eval.linear;
      EXPECT_TRUE(part.enabled) << name;
      const LinearConfig& config = part.config;
      EXPECT_TRUE(config.crops) << name;
      EXPECT_FALSE(config.standardise) << name;
      EXPECT_EQ(std::string(EnumName(config.optimizer)), probe.optimizer) << name;
      EXPECT_EQ(config.epochs, probe.epochs) << name;
      EXPECT_EQ(config.batch, probe.batch) << name;
      EXPECT_EQ(config.lrs, std::vector<double>{probe.lr}) << name;
      EXPECT_EQ(config.momentum, 0.9) << name;
      EXPECT_EQ(config.weight_decay, probe.weight_decay) << name;
      EXPECT_EQ(config.schedule, probe.schedule) << name;
      EXPECT_EQ(config.per_epoch, probe.per_epoch) << name;
      EXPECT_EQ(config.nesterov, probe.nesterov) << name;
      EXPECT_EQ(config.init, probe.init) << name;
    }
  }
  EXPECT_EQ(without_probe, (std::set<std::string>{"semi-1-percent", "semi-10-percent"}));
}

// What GenView changes of each, and the neighbours that are asked.
TEST(Recipes, PretrainingsOfThePapersHaveGenViewsArm) {
  for (const std::string& name : NamesOfPapers()) {
    const RunPlan plan = PlanOfPaper(name);
    ASSERT_EQ(plan.arms.size(), 3u) << name;
    const PretrainConfig& baseline = plan.arms[0].recipe.pretrain.config;
    const PretrainConfig& other = plan.arms[1].recipe.pretrain.config;
    EXPECT_EQ(baseline.pair.source, PairSource::kAugment) << name;
    EXPECT_EQ(baseline.normalisation, Normalisation::kImagenet) << name;
    EXPECT_FALSE(baseline.quality.enabled) << name;
    EXPECT_EQ(other.pair.source, PairSource::kGenerated) << name;
    EXPECT_EQ(other.pair.probability, 1) << name;
    EXPECT_EQ(other.normalisation, Normalisation::kClip) << name;
    EXPECT_TRUE(other.quality.enabled) << name;
    EXPECT_EQ(other.quality.gamma, 1) << name;
    const PretrainConfig& unweighted = plan.arms[2].recipe.pretrain.config;
    EXPECT_EQ(unweighted.pair.source, PairSource::kGenerated) << name;
    EXPECT_EQ(unweighted.normalisation, Normalisation::kClip) << name;
    EXPECT_FALSE(unweighted.quality.enabled) << name;
    EXPECT_EQ(other.quality.encoder, "CLIP-convnext_base_w-laion2B-s13B-b82K-augreg") << name;
    EXPECT_EQ(plan.recipe.foreground.encoder, "CLIP-ViT-H-14-laion2B-s32B-b79K") << name;
    EXPECT_EQ(plan.recipe.views.config.steps, 20) << name;
    EXPECT_EQ(plan.recipe.views.config.guidance, 10) << name;
    EXPECT_EQ(plan.recipe.eval.knn.config.k, baseline.backbone.starts_with("vit") ? 20 : 200) << name;
    EXPECT_EQ(plan.recipe.eval.knn.config.temperature, 0.07) << name;
  }
}

TEST(Recipes, SemiSupervisedRecipesAreSwavs) {
  const PretrainConfig swav = Resolved(PlanOfPaper("swav-resnet50-800").arms[0].recipe.pretrain.config);
  struct Labels {
    const char *file, *list;
    double lr, head_lr;
  };
  for (const auto& [file, list, lr, head_lr] : {Labels{"semi-1-percent", "imagenet/1percent.txt", 0.02, 5},
                                                Labels{"semi-10-percent", "imagenet/10percent.txt", 0.01, 0.2}}) {
    const Recipe recipe = PlanOfPaper(file).arms[0].recipe;
    EXPECT_EQ(WhatIsComputed(Resolved(recipe.pretrain.config)), WhatIsComputed(swav)) << file;
    EXPECT_FALSE(recipe.eval.linear.enabled || recipe.eval.knn.enabled) << file;
    EXPECT_TRUE(recipe.eval.finetune.enabled) << file;
    const FinetuneConfig& config = recipe.eval.finetune.config;
    EXPECT_EQ(config.list, Path(list)) << file;
    EXPECT_EQ(config.epochs, 20) << file;
    EXPECT_EQ(config.batch, 256) << file;
    EXPECT_EQ(config.lr, lr) << file;
    EXPECT_EQ(config.head_lr, head_lr) << file;
    EXPECT_EQ(config.momentum, 0.9) << file;
    EXPECT_EQ(config.weight_decay, 0) << file;
  }
}

TEST(Recipes, PretrainingsOfSoloLearnTrain) {
  const Path out = Path(testing::TempDir()) / "genview-solo-learn";
  std::filesystem::remove_all(out);
  std::set<std::string> names;  // folders of runs
  for (const char* folder : {"cifar10", "cifar100", "imagenet100"}) {
    for (const auto& entry : std::filesystem::directory_iterator(kRecipes / folder)) {
      if (entry.path().filename() == "common.toml") continue;
      const RunPlan plan = MakePlan(ReadRecipeFile<Recipe>(entry.path()), {});
      EXPECT_TRUE(names.insert(plan.name).second) << plan.name;
      ASSERT_EQ(plan.arms.size(), 2u) << plan.name;
      EXPECT_TRUE(plan.arms[1].recipe.pretrain.config.quality.enabled) << plan.name;
      ExpectToTrain(plan, out);
    }
  }
  EXPECT_EQ(names.size(), 18u);
  std::filesystem::remove_all(out);
}

PretrainConfig PretrainingOf(const std::string& file) {
  return MakePlan(ReadRecipeFile<Recipe>(kRecipes / file), {}).arms[0].recipe.pretrain.config;
}

// Of its files in scripts/pretrain.
TEST(Recipes, SettingsOfSoloLearnAreItsOwn) {
  constexpr const char* kMethods[] = {"simclr", "moco-v2-plus", "moco-v3", "simsiam", "byol", "swav"};
  const double cifar[] = {0.4, 0.3, 0.3, 0.5, 1.0, 0.6}, imagenet[] = {0.3, 0.3, 0.3, 0.5, 0.5, 0.6};
  for (const std::string folder : {"cifar10", "cifar100", "imagenet100"}) {
    const bool small = folder != "imagenet100";
    for (size_t i = 0; i < std::size(kMethods); ++i) {
      const std::string file = Format("{}/{}.toml", folder, kMethods[i]);
      const PretrainConfig c = Resolved(PretrainingOf(file));
      EXPECT_EQ(c.lr, (small ? cifar : imagenet)[i]) << file;
      EXPECT_EQ(c.batch, 256) << file;
      EXPECT_EQ(c.epochs, small ? 1000 : 400) << file;
      EXPECT_EQ(c.optimizer, i == 1 || i == 3 ? OptimizerKind::kSgd : OptimizerKind::kLarsSolo) << file;
      const Schedule schedule = ScheduleOf(c, 195);
      EXPECT_EQ(schedule.warmup_steps, 1950) << file;
      EXPECT_NEAR(schedule.At(0), 3e-5, 1e-12) << file;
      EXPECT_NEAR(schedule.At(schedule.total_steps), 0, 1e-12) << file;
      EXPECT_EQ(schedule.hold, 1) << file;
      EXPECT_EQ(c.small_stem, small) << file;
      EXPECT_EQ(BackboneOf(c).stem_padding, small ? 2 : 1) << file;
      const PairLoaderConfig loader = LoaderOf(c);
      for (const AugmentConfig* view : {&loader.view1, &loader.view2}) {
        EXPECT_EQ(view->size, small ? 32 : 224) << file;
        EXPECT_EQ(view->scale_min, 0.08) << file;
        EXPECT_EQ(view->filter, Filter::kBicubic) << file;
        EXPECT_EQ(view->jitter_p, 0.8) << file;
        EXPECT_EQ(view->gray_p, 0.2) << file;
      }
    }
  }
  const PretrainConfig simclr = PretrainingOf("cifar10/simclr.toml"),
                       moco = PretrainingOf("cifar100/moco-v2-plus.toml"),
                       moco_v3 = PretrainingOf("cifar10/moco-v3.toml"), swav = PretrainingOf("cifar10/swav.toml");
  EXPECT_EQ(simclr.temperature, 0.2);
  EXPECT_EQ(simclr.weight_decay, 1e-4);
  EXPECT_EQ(simclr.projector_hidden, 2048);
  EXPECT_EQ(simclr.projector_output, 256);
  EXPECT_EQ(LoaderOf(Resolved(simclr)).view1.brightness, 0.8);
  EXPECT_TRUE(moco.symmetric);
  EXPECT_EQ(moco.queue, 32768);
  EXPECT_EQ(moco.ema, 0.99);
  EXPECT_EQ(moco.ema_final, 0.999);
  EXPECT_EQ(PretrainingOf("imagenet100/moco-v2-plus.toml").queue, 65536);
  EXPECT_EQ(LoaderOf(Resolved(moco_v3)).view1.blur_p, 0);
  EXPECT_EQ(LoaderOf(Resolved(moco_v3)).view2.blur_p, 0);
  EXPECT_EQ(LoaderOf(Resolved(moco_v3)).view2.solarize_p, 0.2);
  EXPECT_EQ(LoaderOf(Resolved(PretrainingOf("imagenet100/byol.toml"))).view1.blur_p, 1);
  EXPECT_EQ(PretrainingOf("imagenet100/byol.toml").predictor_hidden, 8192);
  EXPECT_EQ(PretrainingOf("cifar10/byol.toml").weight_decay, 1e-5);
  EXPECT_EQ(PretrainingOf("imagenet100/byol.toml").weight_decay, 1e-6);
  EXPECT_EQ(swav.swav.queue, 3840);
  EXPECT_EQ(swav.swav.queue_from_epoch, 50);
  EXPECT_EQ(swav.swav.frozen_epochs, 2);
  EXPECT_EQ(PreprocessOf(simclr).mean[0], 0.4914);
  EXPECT_EQ(PreprocessOf(moco).std[2], 0.2762);
}

// The classifiers that its off-line scores are of.
TEST(Recipes, ProbesOfSoloLearnAreItsOwn) {
  for (const auto& [name, rate] : std::initializer_list<std::pair<const char*, double>>{
           {"simclr", 1.0}, {"moco-v2-plus", 3.0}, {"moco-v3", 0.3}, {"simsiam", 30}, {"byol", 0.3}, {"swav", 0.15}}) {
    const Path file = kRecipes / "imagenet100" / Format("{}.toml", name);
    const LinearConfig c = MakePlan(ReadRecipeFile<Recipe>(file), {}).arms[0].recipe.eval.linear.config;
    EXPECT_EQ(c.lrs, std::vector<double>{rate}) << name;
    EXPECT_TRUE(c.crops && c.per_epoch && !c.standardise && !c.nesterov) << name;
    EXPECT_EQ(c.optimizer, ProbeOptimizer::kSgd) << name;
    EXPECT_EQ(c.schedule, ScheduleKind::kStep) << name;
    EXPECT_EQ(c.epochs, 100) << name;
    EXPECT_EQ(c.batch, 256) << name;
    EXPECT_EQ(c.weight_decay, 0) << name;
  }
}

TEST(Recipes, ModelsAreFoundFromAnywhere) {
  const RunPlan plan = MakePlan(ReadRecipeFile<Recipe>(kRecipes / "demo.toml"), {});
  EXPECT_TRUE(std::filesystem::exists(plan.recipe.foreground.encoder)) << plan.recipe.foreground.encoder;
  EXPECT_TRUE(std::filesystem::exists(plan.recipe.views.config.generator)) << plan.recipe.views.config.generator;
}

Path Write(const std::string& name, const std::string& text) {
  const Path path = Path(testing::TempDir()) / "plans" / name;
  WriteFile(path, text);
  return path;
}

TEST(Plan, ArmsWithTheSameViewsShareThem) {
  const RunPlan plan = MakePlan(
      ReadRecipeFile<Recipe>(Write(
          "views.toml",
          "[[arms]]\nname = \"baseline\"\n"
          "[[arms]]\nname = \"constant\"\nset = { views.policy = \"constant\", pretrain.pair.source = \"generated\" }\n"
          "[[arms]]\nname = \"adaptive\"\nset = { pretrain.pair.source = \"generated\" }\n"
          "[[arms]]\nname = \"quality\"\nset = { pretrain.pair.source = \"generated\", pretrain.quality.enabled = true "
          "}\n"
          "[[arms]]\nname = \"own\"\nset = { pretrain.pair.source = \"generated\", pretrain.pair.views = \"elsewhere\" "
          "}\n")),
      {});
  ASSERT_EQ(plan.arms.size(), 5u);
  EXPECT_EQ(plan.arms[0].views, "");
  EXPECT_EQ(plan.arms[1].views, "views-constant");
  EXPECT_EQ(plan.arms[2].views, "views");
  EXPECT_EQ(plan.arms[3].views, "views");
  EXPECT_EQ(plan.arms[4].views, "");
}

TEST(Plan, ArmsMayNotChangeWhatTheyShare) {
  EXPECT_THROW(
      MakePlan(ReadRecipeFile<Recipe>(Write("shared.toml", "[[arms]]\nname = \"a\"\nset = { data.train = \"x\" }\n")),
               {}),
      UsageError);
  EXPECT_THROW(MakePlan(ReadRecipeFile<Recipe>(Write("name.toml", "name = \"../x\"\n")), {}), UsageError);
  for (const char* name : {"views", "state", "results.json", "report.html"})
    EXPECT_THROW(ReadRecipeFile<Recipe>(Write("taken.toml", Format("[[arms]]\nname = \"{}\"\n", name))), UsageError);
}

TEST(Plan, FilesBesideTheRecipeAreFound) {
  const Path recipe =
      Write("beside.toml",
            "[views]\ngenerator = \"train\"\n[pretrain]\ninit = \"start.safetensors\"\n[[arms]]\nname = \"a\"\nset = { "
            "eval.finetune.list = \"labels.txt\" }\n");
  for (const char* name : {"start.safetensors", "labels.txt", "train/a.png"})
    WriteFile(recipe.parent_path() / name, "x");
  const RunPlan plan = MakePlan(ReadRecipeFile<Recipe>(recipe), {});
  EXPECT_EQ(plan.arms[0].recipe.views.config.generator, "train");  // the word, not the folder
  EXPECT_EQ(plan.arms[0].recipe.pretrain.config.init, (recipe.parent_path() / "start.safetensors").string());
  EXPECT_EQ(Path(plan.arms[0].recipe.eval.finetune.config.list), recipe.parent_path() / "labels.txt");
}

TEST(Plan, WhatTheLastArmWouldRefuseIsSaidFirst) {
  const auto where_of = [](const std::string& last) -> std::string {
    try {
      MakePlan(ReadRecipeFile<Recipe>(Write(
                   "refused.toml",
                   "[pretrain]\nbatch = 64\n[[arms]]\nname = \"a\"\n[[arms]]\nname = \"b\"\nset = { " + last + " }\n")),
               {});
    } catch (const UsageError& error) {
      return error.text().where;
    }
    return "";
  };
  EXPECT_NE(where_of("pretrain.queue = 100").find("refused.toml, arm `b`, key `pretrain.queue`"), std::string::npos);
  EXPECT_NE(where_of("pretrain.quality = { enabled = true, encoder = \"arm:c\" }").find("arm:c"), std::string::npos);
  // What the run makes is not there yet.
  EXPECT_EQ(
      where_of("pretrain.crop.draw = \"box\", pretrain.pair.source = \"generated\", pretrain.quality.enabled = true"),
      "");
}

// `genview run` and `genview pretrain` train the same.
TEST(Plan, APretrainingHasAllThatTheRunMakesForIt) {
  const RunPlan plan = MakePlan(
      ReadRecipeFile<Recipe>(Write("whole.toml",
                                   "seeds = [3, 4]\nforeground.encoder = \"tower\"\ndata.train = \"pictures\"\n"
                                   "[[arms]]\nname = \"plain\"\n"
                                   "[[arms]]\nname = \"box\"\nset = { pretrain.crop.draw = \"box\", "
                                   "pretrain.pair.source = \"generated\", pretrain.quality.enabled = true }\n"
                                   "[[arms]]\nname = \"own\"\nset = { pretrain.quality = { enabled = true, encoder = "
                                   "\"arm:plain\", features = \"cached\" } }\n")),
      {.out = "run", .run = Json::object()});
  const PretrainConfig box = PretrainConfigOf(plan, plan.arms[1], 4), own = PretrainConfigOf(plan, plan.arms[2], 3);
  EXPECT_EQ(box.data, "pictures");
  EXPECT_EQ(box.out, "run/box/seed-4/pretrain");
  EXPECT_EQ(box.run.seed, 4u);
  EXPECT_EQ(box.pair.views, "run/views");
  EXPECT_EQ(box.crop.masks, "run/foreground/masks");
  EXPECT_EQ(box.quality.encoder, "tower");
  EXPECT_EQ(box.quality.foreground, "run/foreground/model.safetensors");
  EXPECT_EQ(own.quality.encoder, "run/plain/seed-3/pretrain/encoder.safetensors");
  EXPECT_TRUE(own.quality.foreground.starts_with("run/foreground/quality-")) << own.quality.foreground;
  EXPECT_TRUE(own.quality.cache.starts_with("run/foreground/tokens-")) << own.quality.cache;
  EXPECT_EQ(PretrainConfigOf(plan, plan.arms[0], 3).pair.views, "");
}

TEST(Plan, ATableOfFewLabelsAsksForItsScore) {
  const auto eval_of = [](const std::string& text) {
    return MakePlan(ReadRecipeFile<Recipe>(Write("scores.toml", text)), {}).arms[0].recipe.eval;
  };
  const EvalSection none = eval_of("[eval.knn]\nk = 3\n");
  EXPECT_TRUE(none.linear.enabled && none.knn.enabled);
  EXPECT_FALSE(none.fewshot.enabled || none.finetune.enabled);
  EXPECT_TRUE(eval_of("[eval.fewshot]\nshots = [2]\n").fewshot.enabled);
  EXPECT_FALSE(eval_of("[eval.fewshot]\nshots = [2]\nenabled = false\n").fewshot.enabled);
  EXPECT_TRUE(eval_of("[eval.finetune]\nepochs = 3\n").finetune.enabled);
  EXPECT_THROW(eval_of("[eval.fewshot]\nshots = []\n"), UsageError);
}

const char* const kTwoArms =
    "data.train = \"shapes:count=4,size=16\"\ndata.test = \"shapes:count=4,size=16,seed=1\"\nforeground.encoder = "
    "\"tower\"\nviews.generator = \"unclip\"\n"
    "[[arms]]\nname = \"baseline\"\n"
    "[[arms]]\nname = \"genview\"\nset = { pretrain.pair.source = \"generated\", pretrain.quality.enabled = true }\n";

TEST(Plan, NamesItsStagesBeforeTheyAreMade) {
  const auto names = [](const std::string& toml, const std::vector<std::string>& only) {
    std::vector<std::string> all;
    for (const PlannedStage& stage : StagesOf(MakePlan(ReadRecipeFile<Recipe>(Write("stages.toml", toml)), {}), only))
      all.push_back(stage.name);
    return all;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names(kTwoArms, {}), (Names{"pretrain baseline", "eval linear baseline", "eval knn baseline",
                                        "foreground fit", "foreground score", "views", "pretrain genview",
                                        "eval linear genview", "eval knn genview", "gallery"}));
  EXPECT_EQ(names(kTwoArms, {"foreground"}), (Names{"foreground fit", "foreground score"}));
  EXPECT_EQ(names(kTwoArms, {"pretrain"}),
            (Names{"foreground fit", "foreground score", "views", "pretrain baseline", "pretrain genview"}));
  EXPECT_EQ(names(kTwoArms, {"gallery"}), (Names{"foreground fit", "foreground score", "views", "gallery"}));
  EXPECT_EQ(names("seeds = [1, 2]\ndata.train = \"shapes:count=4,size=16\"\n", {}),
            (Names{"pretrain main seed 1", "pretrain main seed 2"}));
  // The encoder of an arm comes before what it is for.
  EXPECT_EQ(names("foreground.encoder = \"arm:a\"\n[[arms]]\nname = \"b\"\nset = { pretrain.quality.enabled = true "
                  "}\n[[arms]]\nname = \"a\"\n",
                  {"pretrain"}),
            (Names{"pretrain a", "foreground fit", "pretrain b"}));
}

TEST(Plan, ChosenArmsBringWhatTheyNeed) {
  const auto names = [](const std::string& toml, const std::vector<std::string>& arms) {
    RunPlan plan = MakePlan(ReadRecipeFile<Recipe>(Write("chosen.toml", toml)), {});
    const std::string whole = PlanToToml(plan);
    ChooseArms(plan, arms, "--arms");
    EXPECT_EQ(PlanToToml(plan), whole);
    std::vector<std::string> all;
    for (const PlannedStage& stage : StagesOf(plan, {})) all.push_back(stage.name);
    return all;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names(kTwoArms, {"baseline"}), (Names{"pretrain baseline", "eval linear baseline", "eval knn baseline"}));
  EXPECT_EQ(names(kTwoArms, {"genview"}), (Names{"foreground fit", "foreground score", "views", "pretrain genview",
                                                 "eval linear genview", "eval knn genview", "gallery"}));
  // The encoder of an arm, and a stage that is named after an arm that is not made.
  const std::string quality = "set = { pretrain.quality.enabled = true, pretrain.quality.encoder = ";
  const std::string toml = "[[arms]]\nname = \"a\"\n[[arms]]\nname = \"b\"\n" + quality +
                           "\"tower\" }\n[[arms]]\nname = \"c\"\n" + quality + "\"tower\" }\n[[arms]]\nname = \"d\"\n" +
                           quality + "\"arm:a\" }\n";
  EXPECT_EQ(names(toml, {"c"}), (Names{"foreground fit for b", "pretrain c", "gallery"}));
  EXPECT_EQ(names(toml, {"d"}), (Names{"pretrain a", "foreground fit for d", "pretrain d", "gallery"}));
  EXPECT_THROW(names(toml, {"e"}), UsageError);
  EXPECT_THROW(names(toml, {}), UsageError);
}

// Of several processes, each with pretrainings of its own.
TEST(Plan, WhatIsMadeSideBySideStandsTogether) {
  const RunPlan plan = MakePlan(ReadRecipeFile<Recipe>(Write("beside.toml", kTwoArms)), {});
  std::vector<std::string> names;
  for (const PlannedStage& stage : StagesOf(plan, {}, /*side_by_side=*/true)) names.push_back(stage.name);
  EXPECT_EQ(names, (std::vector<std::string>{"foreground fit", "foreground score", "views", "pretrain baseline",
                                             "pretrain genview", "eval linear baseline", "eval knn baseline",
                                             "eval linear genview", "eval knn genview", "gallery"}));
}

TEST(Plan, AnArmThatNeedsItselfIsRefused) {
  const RunPlan plan = MakePlan(
      ReadRecipeFile<Recipe>(
          Write("circle.toml",
                "foreground.encoder = \"arm:a\"\n[[arms]]\nname = \"a\"\nset = { pretrain.quality.enabled = true }\n")),
      {});
  EXPECT_THROW(StagesOf(plan, {}), UsageError);
}

TEST(Plan, InputsThatAreNotThereAreNamed) {
  const Path recipe = Write("inputs.toml", kTwoArms);
  WriteFile(recipe.parent_path() / "tower/config.json", "{}");
  WriteFile(recipe.parent_path() / "unclip/model_index.json", "{}");
  std::filesystem::create_directories(recipe.parent_path() / "empty");
  const auto complaint = [&](const std::vector<std::string>& set,
                             const std::vector<std::string>& only = {}) -> ErrorText {
    try {
      CheckInputs(MakePlan(ReadRecipeFile<Recipe>(recipe, set), {}), only);
    } catch (const Error& error) {
      return error.text();
    }
    return {};
  };
  EXPECT_EQ(complaint({}).what, "");
  EXPECT_EQ(complaint({"foreground.encoder=gone"}).where, "recipe, key `foreground.encoder`");
  EXPECT_EQ(complaint({"views.generator=gone"}).where, "recipe, key `views.generator`");
  EXPECT_NE(complaint({"views.generator=empty"}).what.find("no generator"), std::string::npos);
  WriteFile(recipe.parent_path() / "unclip.ckpt", "");  // what is in it is seen when it is opened
  EXPECT_EQ(complaint({"views.generator=unclip.ckpt"}).what, "");
  EXPECT_EQ(complaint({"views.generator=gone"}, {"foreground"}).what, "");  // nothing reads it
  EXPECT_EQ(complaint({"views.generator=train"}).what, "");
  EXPECT_EQ(complaint({"pretrain.init=gone"}).where, "recipe, key `pretrain.init`");
  EXPECT_EQ(complaint({"data.train=''"}).what, "`data.train` is not set");
  EXPECT_NE(complaint({"data.train=gone"}).what, "");
  EXPECT_NE(complaint({"data.test=gone"}).what, "");
  WriteFile(recipe.parent_path() / "flat/a.png", EncodePng(Image(8, 8)));
  EXPECT_EQ(complaint({"data.test=flat"}).what, "none of the pictures has a class");
  EXPECT_EQ(complaint({"data.test=flat", "eval.linear.enabled=false", "eval.knn.enabled=false"}).what, "");
}

TEST(StageProgress, CountsStagesAndNamesTheirParts) {
  struct Listening : Progress {
    void Begin(std::string_view stage, int64_t, std::string_view) override { heard.emplace_back(stage); }
    void End(std::string_view summary) override { heard.emplace_back(summary); }
    std::vector<std::string> heard;
  } listening;
  StageProgress progress(listening, 3);
  progress.Enter("pretrain genview");
  progress.Begin("pretrain", 10, "steps");
  progress.Enter("eval knn genview");
  progress.Begin("features of the test pictures", 10, "images");
  progress.Say("top-1 50%");
  EXPECT_EQ(listening.heard,
            (std::vector<std::string>{"[1/3] pretrain genview", "[2/3] eval knn genview, features of the test pictures",
                                      "[2/3] eval knn genview", "top-1 50%"}));
}

TEST(Plan, FlagsGoBeforeTheRecipe) {
  const RunPlan plan = MakePlan(ReadRecipeFile<Recipe>(Write("flags.toml", "[run]\nseed = 3\nthreads = 2\n")),
                                {.out = "", .run = {{"seed", 7}}});
  EXPECT_EQ(plan.seeds, (std::vector<uint64_t>{7}));
  EXPECT_EQ(plan.arms[0].recipe.run.threads, 2);
  EXPECT_EQ(plan.arms[0].recipe.run.seed, 7u);
}

TEST(Plan, ASeedThatTomlCannotHoldIsRefused) {
  const RecipeFile file = ReadRecipeFile<Recipe>(Write("large.toml", "[pretrain]\nepochs = 3\n"));
  EXPECT_NO_THROW(MakePlan(file, {.out = "", .run = {{"seed", INT64_MAX}}}));
  EXPECT_THROW(MakePlan(file, {.out = "", .run = {{"seed", UINT64_MAX}}}), UsageError);
}

// Another way to the same folder is no other generator.
TEST(Plan, PlacesOfInputsAreNamed) {
  const RunPlan plan = MakePlan(ReadRecipeFile<Recipe>(kRecipes / "smoke.toml"), {});
  for (const PlannedStage& stage : StagesOf(plan, {})) {
    for (const auto& [key, value] : stage.settings.items()) {
      const bool is_path = value.is_string() && value.get<std::string>().find("models/demo") != std::string::npos;
      const bool is_place = std::find(stage.places.begin(), stage.places.end(), key) != stage.places.end();
      EXPECT_TRUE(!is_path || is_place) << stage.name << " " << key;
    }
  }
}

TEST(Plan, ItsTomlGivesTheSamePlan) {
  for (const char* name : {"demo.toml", "demo-seeds.toml"}) {
    const std::string text = PlanToToml(MakePlan(ReadRecipeFile<Recipe>(kRecipes / name), {}));
    EXPECT_EQ(PlanToToml(MakePlan(ReadRecipeFile<Recipe>(Write("again.toml", text)), {})), text) << name;
  }
}

TEST(Plan, ItsTomlSaysWhatEveryKeyIs) {
  const std::string text =
      PlanToToml(MakePlan(ReadRecipeFile<Recipe>(Write("said.toml", "[pretrain]\nepochs = 3\n")), {}));
  for (const char* part :
       {"\n# pretraining\n[pretrain]\n", "\n# passes over the pictures [at least 1; default 200]\nepochs = 3\n",
        "# self-supervised method [moco-v2|simclr|"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part;
  }
  std::string before;
  for (const std::string& line : Split(text.substr(0, text.find("\n[[arms]]")), '\n')) {
    EXPECT_LE(line.size(), 120u);
    const bool is_key = line.find(" = ") != std::string::npos && !line.starts_with("# ");
    EXPECT_TRUE(!is_key || before.starts_with("# ")) << line;
    before = line;
  }
}

}  // namespace
}  // namespace genview
