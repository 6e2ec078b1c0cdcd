// The library's main roads on a pretend device (pretend_device.h), compared with what they give on the CPU: a tensor
// that is left on the wrong side throws, and memory of the device that is read directly is a segmentation fault.
#include <gtest/gtest.h>

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "genview/data/source.h"
#include "genview/eval/features.h"
#include "genview/eval/fewshot.h"
#include "genview/eval/finetune.h"
#include "genview/eval/knn.h"
#include "genview/eval/linear.h"
#include "genview/foreground/fit.h"
#include "genview/foreground/score.h"
#include "genview/generator/faithfulness.h"
#include "genview/generator/tiny_generator.h"
#include "genview/generator/tower.h"
#include "genview/models/convnext.h"
#include "genview/pretrain/pretrain.h"
#include "genview/pretrain/tiny_training.h"
#include "genview/pretrain/trainer.h"
#include "genview/tensor/bench_times.h"
#include "genview/views/generate.h"
#include "genview/views/likeness.h"
#include "genview/views/plan.h"
#include "tests/device/pretend_device.h"
#include "tests/golden/compare.h"
#include "tests/source_dir.h"
#include "tests/temporary_folder.h"

namespace genview {
namespace {

TEST(PretendDevice, KeepsTheRulesOfAGpu) {
  const Tensor x = NormalTensor(Seed(1), {3, 4}), y = x.to(PretendDevice());
  EXPECT_EQ(y.device(), PretendDevice());
  EXPECT_TRUE(at::equal(y.cpu(), x));
  EXPECT_TRUE(at::equal((y + y).cpu(), x + x));
  EXPECT_TRUE(at::equal(y.t().contiguous().cpu(), x.t()));
  y.select(0, 1).zero_();
  EXPECT_EQ(y[1].abs().sum().item<float>(), 0);
  EXPECT_TRUE(at::equal((y * at::full({}, 2.0)).cpu(), y.cpu() * 2));
  EXPECT_THROW((void)(y + x), c10::Error);
  EXPECT_THROW((void)at::mm(y, x.t()), c10::Error);
  EXPECT_THROW((void)at::cat({y, x}), c10::Error);
  EXPECT_THROW((void)y.index_select(0, at::zeros({1}, at::kLong)), c10::Error);
  EXPECT_EQ(y.index({at::zeros({1}, at::kLong)}).sizes(), (std::vector<int64_t>{1, 4}));
  EXPECT_TRUE(at::isnan(at::empty({3}, y.options())).all().item<bool>());
  EXPECT_GT(FreeMemoryBytes(PretendDevice()), uint64_t{1} << 30);
  EXPECT_GT(PeakMemoryBytes(PretendDevice()), 0u);
  EXPECT_DEATH((void)*const_cast<const volatile float*>(y.const_data_ptr<float>()), "");
}

TEST(PretendDevice, IsTheGpuThatThereIs) {
  const InsteadOfCuda device(PretendDevice());
  EXPECT_EQ(Gpus(), std::vector<at::Device>{PretendDevice()});
}

TEST(PretendDevice, BenchesSayTheMemoryOfBoth) {
  const Tensor taken = at::ones({1 << 20}).to(PretendDevice());
  BenchFigures figures{
      .times = {.median_ms = 1}, .images = 1, .matmul_gflops = 1, .device = "cuda:0", .precision = "fp32"};
  figures.NoteMemory(PretendDevice());
  EXPECT_GT(figures.peak_bytes, 0u);
  EXPECT_GE(BenchFiguresToJson(figures).value("device_peak_bytes", uint64_t{0}), uint64_t{4} << 20);
  EXPECT_NE(BenchFiguresToText(figures, "images").find(" of the GPU's\n"), std::string::npos);
  figures.NoteMemory(at::kCPU);
  EXPECT_FALSE(BenchFiguresToJson(figures).contains("device_peak_bytes"));
  EXPECT_NE(BenchFiguresToText(figures, "images").find(" at most\n"), std::string::npos);
}

PretrainConfig TinyParts(MethodKind method, const std::string& backbone = "resnet18") {
  PretrainConfig config = TinyTraining(method);
  config.accumulate = 2;
  config.backbone = backbone;
  if (backbone != "resnet18") config.width = 1.0 / 16;
  config.patch_size = 4;
  return config;
}

struct Trained {
  std::vector<double> losses;
  std::map<std::string, Tensor> state;
};

// Three steps of two parts, with weights of pairs, the last one after a checkpoint that is written and read.
Trained Train(const PretrainConfig& given, at::Device device, at::ScalarType compute = at::kFloat) {
  const PretrainConfig config = Resolved(given);
  const TemporaryFolder folder;
  auto trainer = std::make_unique<Trainer>(config, 2, device, compute);
  Trained trained;
  for (uint64_t step = 0; step < 3; ++step) {
    if (step == 2) {
      WriteSafetensors(folder.path() / "state.safetensors", trainer->State());
      const WeightMap stored = ReadSafetensors(folder.path() / "state.safetensors");
      trainer = std::make_unique<Trainer>(config, 2, device, compute);
      WeightReader reader(stored);
      trainer->Load(reader, 2);
      reader.Finish();
    }
    for (uint64_t part = 0; part < 2; ++part) {
      const Seed seed = Seed(7).With(step).With(part);
      const auto view = [&](std::string_view name) { return NormalTensor(seed.With(name), {4, 3, 8, 8}); };
      const std::vector<Tensor> more =
          config.method == MethodKind::kMultiPositive ? std::vector<Tensor>{view("c")} : std::vector<Tensor>{};
      trainer->Accumulate(view("a"), view("b"), UniformTensor(seed.With("w"), {4}, 0.5, 1.5).to(device), more,
                          {1, 0, 0, 0}, at::ones({4}));
    }
    trained.losses.push_back(trainer->Step().loss.item<double>());
  }
  EXPECT_TRUE(trainer->Finite());
  EXPECT_NE(trainer->WeightSum(), 0u);
  for (const auto& [name, tensor] : trainer->State()) trained.state[name] = tensor.detach().cpu();
  return trained;
}

class OnAPretendDevice : public testing::Test {
 protected:
  OnAPretendDevice() { at::set_num_threads(1); }
};

TEST_F(OnAPretendDevice, EveryMethodTrainsAsOnTheCpu) {
  for (const auto& [method, name] : EnumNames<MethodKind>::kNames) {
    for (const char* backbone : {"resnet18", "vit-tiny"}) {
      if (method == MethodKind::kSwav && std::string_view(backbone) != "resnet18") continue;
      SCOPED_TRACE(Format("{}, {}", name, backbone));
      PretrainConfig config = TinyParts(method, backbone);
      config.optimizer = OptimizerKind::kSgd;
      config.gradient_clip = 1;
      const Trained wanted = Train(config, at::kCPU), found = Train(config, PretendDevice());
      EXPECT_NEAR(found.losses.back(), wanted.losses.back(), 1e-4 * std::abs(wanted.losses.back()));
      ASSERT_EQ(found.state.size(), wanted.state.size());
      for (const auto& [key, tensor] : wanted.state) {
        if (key.starts_with("optimizer.")) continue;  // gradients of a batch of four, which norms enlarge
        EXPECT_TRUE(at::allclose(found.state.at(key).to(at::kDouble), tensor.to(at::kDouble), 1e-3, 1e-5)) << key;
      }
    }
  }
}

TEST_F(OnAPretendDevice, EveryOptimiserTrainsAsOnTheCpu) {
  for (const auto& [optimizer, name] : EnumNames<OptimizerKind>::kNames) {
    SCOPED_TRACE(name);
    PretrainConfig config = TinyParts(MethodKind::kSimClr, "vit-tiny");
    config.optimizer = optimizer;
    config.layer_decay = 0.7;
    config.drop_path = 0.2;
    const double wanted = Train(config, at::kCPU).losses.back();
    EXPECT_NEAR(Train(config, PretendDevice()).losses.back(), wanted, 2e-3 * std::abs(wanted));
  }
}

// Autocast casts by CUDA's lists there.
TEST_F(OnAPretendDevice, EveryMethodTrainsIn16Bits) {
  for (const auto& [method, name] : EnumNames<MethodKind>::kNames) {
    for (const std::string backbone : {"resnet18", "vit-tiny"}) {
      if (method == MethodKind::kSwav && backbone != "resnet18") continue;
      const at::ScalarType compute = backbone == "resnet18" ? at::kBFloat16 : at::kHalf;
      SCOPED_TRACE(Format("{}, {}", name, backbone));
      PretrainConfig config = TinyParts(method, backbone);
      config.optimizer = OptimizerKind::kSgd;
      const double found = Train(config, PretendDevice(), compute).losses.front();
      if (backbone == "resnet18") continue;  // of two channels: its norms enlarge what 16 bits round away
      const double wanted = Train(config, at::kCPU).losses.front();
      EXPECT_NEAR(found, wanted, 0.1 * std::abs(wanted) + 0.1);
    }
  }
}

// Every command that computes, one after another.
class Road {
 public:
  Road(const Path& inputs, const Path& out, DeviceChoice device) : inputs_(inputs), out_(out) {
    run_.device = device;
    run_.precision = Precision::kFp32;
    run_.threads = 1;
    run_.batch = 8;
  }

  // An untrained ViT, for all roads the same.
  static void WriteEncoder(const Path& inputs) {
    const auto net = MakeBackbone(
        Json{{"type", "vit-tiny"}, {"width", 1.0 / 16}, {"layers", 1}, {"patch_size", 4}, {"image_size", 16}});
    net->Init(Seed(2));
    const Json meta = {{"format", 1},
                       {"kind", "pretrain"},
                       {"backbone", FieldsToJson(net->config())},
                       {"preprocess", Preprocess{.size = 16, .resize_shortest = 16}.ToJson()}};
    WriteSafetensors(inputs / "encoder.safetensors", NamedTensors(net->Weights(), "encoder."),
                     {{"genview", meta.dump()}});
    WriteTinyTower(inputs / "tower");
    const Json model = {
        {"embed_dim", 8},
        {"vision_cfg",
         {{"timm_model_name", "test_convnext2"}, {"timm_proj", "linear"}, {"timm_pool", ""}, {"image_size", 64}}}};
    ConvNext convnext = MakeConvNext(ConvNextConfigFromOpenClip(model, "test"));
    InitWeights(ListWeights(convnext), Seed(1));
    WriteSafetensors(inputs / "convnext/open_clip_model.safetensors", NamedTensors(ListWeights(convnext), "visual."));
    WriteJson(inputs / "convnext/open_clip_config.json", {{"model_cfg", model}, {"preprocess_cfg", Json::object()}});
  }

  FitSummary Fit(int64_t memory_mb) {
    FitConfig config;
    config.images = Pictures(24);
    config.encoder = Encoder();
    config.out = out_ / "fg.safetensors";
    config.memory_mb = memory_mb;
    config.run = run_;
    return FitForeground(config, progress_);
  }
  ScoreSummary Score() {
    return ScoreForeground({.images = Pictures(24),
                            .model = out_ / "fg.safetensors",
                            .threshold = {},
                            .encoder = Encoder(),
                            .out = out_ / "ratios.tsv",
                            .masks = out_ / "masks",
                            .lists = {},
                            .skipped = {},
                            .run = run_},
                           progress_);
  }
  WeightMap Features(const Path& encoder) {
    const Path file = out_ / "features" / Format("{}.safetensors", encoder.stem().string());
    ExtractFeatures({.images = Pictures(20), .encoder = encoder, .out = file, .tokens = true, .run = run_}, progress_);
    return ReadSafetensors(file);
  }
  GeneratorSummary Generator() {
    GeneratorConfig config = TinyGenerator(inputs_ / "tower", out_ / "generator");
    config.run = run_;
    return TrainGenerator(config, progress_);
  }
  ViewsConfig ViewsOf(const Path& generator) const {
    ViewsConfig config;
    config.images = Pictures(6);
    config.generator = generator;
    config.out = out_ / "views";
    config.run = run_;
    config.policy = NoisePolicy::kRandom;
    config.steps = 3;
    config.guidance = 3;
    return config;
  }
  PretrainConfig Pretraining(QualityFeatures features, const Path& foreground) const {
    PretrainConfig config = TinyParts(MethodKind::kMocoV2);
    config.data = Pictures(24);
    config.out = (out_ / EnumName(features)).string();
    config.size = 16;
    config.epochs = 2;
    config.optimizer = OptimizerKind::kSgd;
    config.knn_epochs = 1;
    config.quality.enabled = true;
    config.quality.encoder = Encoder().string();
    config.quality.foreground = foreground.string();
    config.quality.features = features;
    config.run = run_;
    return config;
  }
  template <class Config>
  Config Evaluation() const {
    Config config;
    config.inputs = {
        .train = Pictures(60), .test = Pictures(30), .checkpoint = Encoder(), .out = {}, .cache = {}, .run = run_};
    return config;
  }

  Path Encoder() const { return inputs_ / "encoder.safetensors"; }
  const Path& out() const { return out_; }
  RunOptions& run() { return run_; }
  Progress& progress() { return progress_; }
  static std::string Pictures(int64_t count) { return Format("shapes:count={},size=16,seed=3", count); }

 private:
  const Path inputs_, out_;
  RunOptions run_;
  Progress progress_;
};

class Roads : public OnAPretendDevice {
 protected:
  Roads() { Road::WriteEncoder(folder_.path()); }

  const TemporaryFolder folder_;
  const InsteadOfCuda device_{PretendDevice()};
  Road cpu_{folder_.path(), folder_.path() / "cpu", DeviceChoice::kCpu};
  Road gpu_{folder_.path(), folder_.path() / "gpu", DeviceChoice::kCuda};
};

void ExpectSameTensors(const WeightMap& found, const WeightMap& wanted, double tolerance) {
  ASSERT_EQ(found.tensors().size(), wanted.tensors().size());
  for (const auto& [name, tensor] : wanted.tensors()) {
    SCOPED_TRACE(name);
    EXPECT_CLOSE(found.At(name), tensor, tolerance);
  }
}

TEST_F(Roads, ForegroundsAndFeatures) {
  for (const int64_t memory_mb : {1024, 0}) {
    const FitSummary wanted = cpu_.Fit(memory_mb), found = gpu_.Fit(memory_mb);
    EXPECT_NEAR(found.threshold, wanted.threshold, 1e-4 * std::abs(wanted.threshold));
    ExpectSameTensors(ReadSafetensors(gpu_.out() / "fg.safetensors"), ReadSafetensors(cpu_.out() / "fg.safetensors"),
                      1e-3);
  }
  EXPECT_NEAR(gpu_.Score().mean_ratio, cpu_.Score().mean_ratio, 0.01);
  for (const char* encoder : {"encoder.safetensors", "tower", "convnext"})
    ExpectSameTensors(gpu_.Features(folder_.path() / encoder), cpu_.Features(folder_.path() / encoder), 1e-4);
}

// To rounding.
void ExpectSameViews(const Path& found_in, const Path& wanted_in) {
  const auto rows = ReadViewTable(wanted_in / "manifest.jsonl");
  EXPECT_FALSE(rows.empty());
  for (const ViewRow& row : rows) {
    const auto wanted = DecodeImage(ReadFile(wanted_in / row.file)), found = DecodeImage(ReadFile(found_in / row.file));
    ASSERT_TRUE(wanted && found);
    ASSERT_EQ(found->pixels.size(), wanted->pixels.size());
    int most = 0;
    for (size_t i = 0; i < found->pixels.size(); ++i)
      most = std::max(most, std::abs(int{found->pixels[i]} - int{wanted->pixels[i]}));
    EXPECT_LE(most, 1) << row.id;
  }
}

double LastLoss(const Path& log) { return ParseJson(ReadLines(log).back(), log.string())["loss"].get<double>(); }

TEST_F(Roads, AGeneratorAndItsViews) {
  EXPECT_NEAR(gpu_.Generator().scaling_factor, cpu_.Generator().scaling_factor, 1e-3);
  for (const char* part : {"autoencoder", "denoiser"}) {
    const Path log = Path("generator/training") / part / "log.jsonl";
    EXPECT_NEAR(LastLoss(gpu_.out() / log), LastLoss(cpu_.out() / log), 1e-3) << part;
  }
  const Path generator = cpu_.out() / "generator";
  for (Road* road : {&cpu_, &gpu_}) {
    const ViewsConfig config = road->ViewsOf(generator);
    EXPECT_EQ(GenerateViews(config, road->progress()).written, 6);
    EXPECT_GT(PlanViews(config, {.seconds = 0.2}, road->progress()).views, 0);
  }
  ExpectSameViews(gpu_.out() / "views", cpu_.out() / "views");
  const auto likeness = [&](Road& road) {
    return MeasureLikeness({.images = Road::Pictures(6),
                            .encoder = road.Encoder(),
                            .generator = generator,
                            .ratios = {},
                            .levels = {100},
                            .pictures = 4,
                            .steps = 2,
                            .scheduler = {},
                            .run = road.run()},
                           road.progress())
        .by_level.at(0)
        .cosine;
  };
  EXPECT_NEAR(likeness(gpu_), likeness(cpu_), 1e-3);
  const auto faithful = [&](Road& road) {
    FaithfulnessConfig config;
    config.generator = generator;
    config.out = road.out() / "faithful";
    config.pictures = 4;
    config.levels = {100};
    config.steps = 2;
    config.judge.size = 16;
    config.judge.backbone.width = 1.0 / 16;
    config.judge.training.steps = 2;
    config.judge.training.batch = 4;
    config.run = road.run();
    return MeasureFaithfulness(config, road.progress()).rows.at(0).cosine;
  };
  EXPECT_NEAR(faithful(gpu_), faithful(cpu_), 1e-3);
}

// With and without text and guidance, by every scheduler, in tiles, and each by itself.
TEST_F(Roads, ViewsOfEveryKindOfGenerator) {
  const std::tuple<const char*, const char*, bool> kinds[] = {{"pipeline_pndm", "", true},
                                                              {"pipeline_ddim", "EulerDiscrete", false},
                                                              {"pipeline_ddim", "", true},
                                                              {"pipeline_text", "DPMSolverMultistep", false}};
  for (const auto& [generator, scheduler, alone] : kinds) {
    const std::string name = Format("{}-{}", generator, scheduler);
    SCOPED_TRACE(name);
    for (Road* road : {&cpu_, &gpu_}) {
      ViewsConfig config = road->ViewsOf(SourceDir() / "tests/golden/diffusion" / generator);
      config.out = road->out() / name;
      config.images = Road::Pictures(3);
      config.scheduler = scheduler;
      config.deterministic = alone;
      config.decode = alone ? DecodeChoice::kTiles : DecodeChoice::kWhole;
      config.keep = alone ? Residency::kOne : Residency::kAll;
      config.guidance = alone ? 1 : 3;
      EXPECT_EQ(GenerateViews(config, road->progress()).written, 3);
    }
    ExpectSameViews(gpu_.out() / name, cpu_.out() / name);
  }
}

TEST_F(Roads, ATower) {
  for (Road* road : {&cpu_, &gpu_}) {
    TowerConfig config;
    config.out = road->out() / "tower";
    config.size = 16;
    config.patch = 8;
    config.width = config.text_width = 16;
    config.layers = 1;
    config.heads = config.text_heads = 2;
    config.embedding_width = 8;
    config.training = {.steps = 3, .shards = 2, .batch = 8, .warmup = 1, .save_every = 2, .log_every = 1};
    config.run = road->run();
    EXPECT_EQ(TrainTower(config, road->progress()).steps, 3);
  }
  EXPECT_NEAR(LastLoss(gpu_.out() / "tower/training/log.jsonl"), LastLoss(cpu_.out() / "tower/training/log.jsonl"),
              1e-3);
}

TEST_F(Roads, PretrainingWithQualityWeights) {
  cpu_.Fit(1024);
  const Path foreground = cpu_.out() / "fg.safetensors";
  for (const QualityFeatures features : {QualityFeatures::kOnline, QualityFeatures::kCached}) {
    SCOPED_TRACE(EnumName(features));
    const auto train = [&](Road& road) { return Pretrain(road.Pretraining(features, foreground), road.progress()); };
    const PretrainSummary wanted = train(cpu_), found = train(gpu_);
    EXPECT_EQ(found.steps, wanted.steps);
    EXPECT_NEAR(found.loss, wanted.loss, 1e-3 * wanted.loss);
    EXPECT_NEAR(found.feature_std, wanted.feature_std, 1e-3);
  }
}

TEST_F(Roads, Scores) {
  const auto same = [&](auto evaluate, auto config_of) {
    const EvalResult wanted = evaluate(config_of(cpu_), cpu_.progress()),
                     found = evaluate(config_of(gpu_), gpu_.progress());
    EXPECT_NEAR(found.top1, wanted.top1, 4) << wanted.kind;  // one picture of 30
  };
  same(EvalKnn, [](Road& road) { return road.Evaluation<KnnConfig>(); });
  same(EvalLinear, [](Road& road) {
    auto config = road.Evaluation<LinearConfig>();
    config.epochs = 3;
    return config;
  });
  same(EvalFewshot, [](Road& road) {
    auto config = road.Evaluation<FewshotConfig>();
    config.shots = {1};
    return config;
  });
  same(EvalFinetune, [](Road& road) {
    auto config = road.Evaluation<FinetuneConfig>();
    config.epochs = 2;
    config.batch = 16;
    return config;
  });
}

// With the precision that the program takes of itself.
TEST_F(Roads, In16Bits) {
  gpu_.run().precision = Precision::kAuto;
  EXPECT_GT(gpu_.Fit(1024).threshold, -1e9);
  EXPECT_EQ(gpu_.Score().images, 24);
  EXPECT_GT(gpu_.Features(folder_.path() / "tower").tensors().size(), 0u);
  EXPECT_EQ(gpu_.Generator().images, 12);
  const ViewsSummary views = GenerateViews(gpu_.ViewsOf(gpu_.out() / "generator"), gpu_.progress());
  EXPECT_EQ(views.written, 6);
  EXPECT_EQ(views.retried, 0);
  for (const QualityFeatures features : {QualityFeatures::kOnline, QualityFeatures::kCached})
    EXPECT_GT(Pretrain(gpu_.Pretraining(features, gpu_.out() / "fg.safetensors"), gpu_.progress()).loss, 0);
  auto finetune = gpu_.Evaluation<FinetuneConfig>();
  finetune.epochs = 1;
  finetune.batch = 16;
  EXPECT_EQ(EvalFinetune(finetune, gpu_.progress()).images, 30);
}

}  // namespace
}  // namespace genview
