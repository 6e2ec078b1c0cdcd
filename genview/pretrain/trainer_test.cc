#include "genview/pretrain/trainer.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <barrier>
#include <future>
#include <map>

#include "genview/base/error.h"
#include "genview/pretrain/bench_step.h"
#include "genview/pretrain/tiny_training.h"
#include "genview/tensor/safetensors.h"
#include "tests/source_dir.h"

namespace genview {
namespace {

PretrainConfig Tiny(MethodKind method = MethodKind::kMocoV2) { return Resolved(TinyTraining(method)); }

Tensor View(int64_t step, std::string_view name, int64_t n = 8) {
  return NormalTensor(Seed(7).With(name).With(static_cast<uint64_t>(step)), {n, 3, 8, 8});
}

double Advance(Trainer& trainer, int64_t from, int64_t to) {
  double loss = 0;
  for (int64_t step = from; step < to; ++step) {
    trainer.Accumulate(View(step, "a"), View(step, "b"), {});
    loss = trainer.Step().loss.item<double>();
  }
  return loss;
}

std::map<std::string, Tensor> Copy(Trainer& trainer) {
  std::map<std::string, Tensor> copy;
  for (const auto& [name, tensor] : trainer.State()) copy[name] = tensor.clone().contiguous();
  return copy;
}

class TrainerOfEveryMethod : public testing::TestWithParam<MethodKind> {};

TEST_P(TrainerOfEveryMethod, ResumeIsExact) {
  Trainer whole(Tiny(GetParam()), 2, at::kCPU, at::kFloat), first(Tiny(GetParam()), 2, at::kCPU, at::kFloat);
  Advance(whole, 0, 6);
  Advance(first, 0, 4);
  WeightMap saved("memory");
  for (const auto& [name, tensor] : Copy(first)) saved.Add(name, tensor);
  Trainer resumed(Tiny(GetParam()), 2, at::kCPU, at::kFloat);
  WeightReader reader(saved);
  resumed.Load(reader, 4);
  reader.Finish();
  Advance(resumed, 4, 6);
  EXPECT_EQ(resumed.steps(), 6);
  const auto wanted = Copy(whole), found = Copy(resumed);
  ASSERT_EQ(wanted.size(), found.size());
  for (const auto& [name, tensor] : wanted) EXPECT_TRUE(at::equal(tensor, found.at(name))) << name;
}

TEST_P(TrainerOfEveryMethod, LossFallsOnOnePairOfBatches) {
  if (GetParam() == MethodKind::kMocoV2)
    GTEST_SKIP() << "its queue would hold the very pictures that are to be told from it";
  PretrainConfig config = Tiny(GetParam());
  config.lr = 0.005;
  config.optimizer = OptimizerKind::kSgd;
  config.warmup_epochs = config.swav.frozen_epochs = 0;
  config.swav.queue = 0;
  Trainer trainer(config, 20, at::kCPU, at::kFloat);
  std::vector<double> losses;
  for (int64_t step = 0; step < 20; ++step) {
    trainer.Accumulate(View(0, "a"), View(0, "a") + 0.1 * View(0, "b"), {});
    losses.push_back(trainer.Step().loss.item<double>());
  }
  EXPECT_LT(losses.back(), losses.front());
}

// Processes as threads, which hand their tensors over in memory.
class ThreadTensors final : public TensorGroup {
 public:
  struct Meeting {
    explicit Meeting(int64_t size) : given(static_cast<size_t>(size)), all(size) {}
    std::vector<Tensor> given;
    std::barrier<> all;
  };
  ThreadTensors(Meeting& meeting, int64_t rank) : meeting_(meeting), rank_(rank) {}
  int64_t rank() const override { return rank_; }
  int64_t size() const override { return static_cast<int64_t>(meeting_.given.size()); }
  Tensor Gather(const Tensor& mine) override { return at::stack(All(mine)); }
  Tensor Exchange(const Tensor& for_each) override { return at::stack(All(for_each), 1)[rank_]; }

 private:
  std::vector<Tensor> All(const Tensor& mine) {
    meeting_.given[static_cast<size_t>(rank_)] = mine.clone();
    meeting_.all.arrive_and_wait();
    std::vector<Tensor> copy;
    for (const Tensor& tensor : meeting_.given) copy.push_back(tensor.clone());
    meeting_.all.arrive_and_wait();
    return copy;
  }

  Meeting& meeting_;
  int64_t rank_;
};

struct Trained {
  std::map<std::string, Tensor> state;
  Tensor projections;           // of the last step
  std::vector<double> figures;  // of each step
  uint64_t sum = 0;
};

// Three steps of four parts, of which this process computes its own.
Trained TrainInParts(const PretrainConfig& config, TensorGroup& together) {
  Trainer trainer(config, 2, at::kCPU, at::kFloat, together);
  Trained trained;
  const int64_t n = config.batch / config.accumulate;
  for (int64_t step = 0; step < 3; ++step) {
    for (int64_t part = together.rank(); part < config.accumulate; part += together.size()) {
      const int64_t number = step * config.accumulate + part;
      const Tensor weights = UniformTensor(Seed(8).With(static_cast<uint64_t>(number)), {n}, 0.5, 1.5);
      std::vector<Tensor> more;
      if (config.method == MethodKind::kMultiPositive) more.push_back(View(number, "c", n));
      trainer.Accumulate(View(number, "a", n), View(number, "b", n), weights, more, {part, 1, 0, 0});
    }
    const StepReport report = trainer.Step();
    trained.figures.insert(trained.figures.end(),
                           {report.loss.item<double>(), report.weight_std.item<double>(),
                            static_cast<double>(report.tally[0]), static_cast<double>(report.tally[1])});
  }
  trained.state = Copy(trainer);
  trained.projections = trainer.projections();
  trained.sum = trainer.WeightSum();
  return trained;
}

void ExpectAnyNumberOfProcesses(const PretrainConfig& config) {
  const Trained alone = TrainInParts(config, AloneWithTensors());
  EXPECT_EQ(alone.figures[2], 6);
  EXPECT_EQ(alone.figures[3], 4);
  for (const int64_t size : {2, 3}) {  // of three, one has two parts
    ThreadTensors::Meeting meeting(size);
    std::vector<std::future<Trained>> processes;
    for (int64_t rank = 0; rank < size; ++rank) {
      processes.push_back(std::async(std::launch::async, [&meeting, &config, rank] {
        ThreadTensors together(meeting, rank);
        return TrainInParts(config, together);
      }));
    }
    for (auto& process : processes) {
      const Trained trained = process.get();
      EXPECT_EQ(trained.figures, alone.figures) << size << " processes";
      EXPECT_EQ(trained.sum, alone.sum);
      EXPECT_TRUE(at::equal(trained.projections, alone.projections)) << size << " processes";
      ASSERT_EQ(trained.state.size(), alone.state.size());
      for (const auto& [name, tensor] : alone.state)
        EXPECT_TRUE(at::equal(tensor, trained.state.at(name))) << size << " processes: " << name;
    }
  }
}

TEST_P(TrainerOfEveryMethod, ProcessesShareThePartsOfAStep) {
  PretrainConfig config = Tiny(GetParam());
  config.accumulate = 4;
  config.swav.queue_from_epoch = config.swav.frozen_epochs = 0.5;
  ExpectAnyNumberOfProcesses(config);
}

PretrainConfig Symmetric() {
  PretrainConfig config = Tiny();
  config.symmetric = true;
  config.ema = 0.9;
  config.ema_final = 0.99;
  return Resolved(config);
}

TEST(Trainer, ResumeIsExactWithAQueuePerView) {
  Trainer whole(Symmetric(), 2, at::kCPU, at::kFloat), first(Symmetric(), 2, at::kCPU, at::kFloat);
  Advance(whole, 0, 6);
  Advance(first, 0, 3);
  WeightMap saved("memory");
  for (const auto& [name, tensor] : Copy(first)) saved.Add(name, tensor);
  EXPECT_EQ(saved.At("queue").sizes(), (at::IntArrayRef{2, 8, 16}));
  Trainer resumed(Symmetric(), 2, at::kCPU, at::kFloat);
  WeightReader reader(saved);
  resumed.Load(reader, 3);
  reader.Finish();
  Advance(resumed, 3, 6);
  const auto wanted = Copy(whole), found = Copy(resumed);
  ASSERT_EQ(wanted.size(), found.size());
  for (const auto& [name, tensor] : wanted) EXPECT_TRUE(at::equal(tensor, found.at(name))) << name;
}

TEST(Trainer, ProcessesShareTheQueuesOfBothViews) {
  PretrainConfig config = Symmetric();
  config.accumulate = 4;
  ExpectAnyNumberOfProcesses(config);
}

// By hand: the batch in another order, its parts through the slow network one after another, the keys put back.
TEST(Trainer, KeysAreMadeInPartsOfAnotherOrder) {
  PretrainConfig config = Tiny(), unshuffled = Tiny();
  config.accumulate = unshuffled.accumulate = 2;
  unshuffled.shuffle_bn = false;
  Trainer trainer(config, 2, at::kCPU, at::kFloat), by_hand(config, 2, at::kCPU, at::kFloat),
      plain(unshuffled, 2, at::kCPU, at::kFloat);
  for (Trainer* each : {&trainer, &plain}) {
    for (int64_t part = 0; part < 2; ++part) each->Accumulate(View(part, "a", 4), View(part, "b", 4), {});
  }
  Method& method = by_hand.method();
  const auto view = [](int64_t part, const char* name) {  // laid out as a trainer does it
    return View(part, name, 4).contiguous(at::MemoryFormat::ChannelsLast);
  };
  const Tensor second = at::cat({view(0, "b"), view(1, "b")}), queue = Copy(by_hand).at("queue").clone();
  const std::vector<int64_t> order = Permutation(Seed(config.run.seed).With("shuffle").With(uint64_t{0}), 8);
  const Tensor places = at::tensor(order, at::kLong);
  std::vector<Tensor> made;
  for (const Tensor& part : second.index_select(0, places).split(4))
    made.push_back(method.Key(part.contiguous(at::MemoryFormat::ChannelsLast)));
  Tensor keys = at::empty({8, 8});
  keys.index_copy_(0, places, at::cat(made));
  const auto statistics = Copy(by_hand);
  double loss = 0;
  for (int64_t part = 0; part < 2; ++part) {
    const Tensor own = keys.narrow(0, 4 * part, 4);
    loss += method.LossWithKeys(view(part, "a"), view(part, "b"), {own}).mean().item<double>() / 2;
  }
  EXPECT_NEAR(trainer.Step().loss.item<double>(), loss, 1e-5);
  EXPECT_GT(std::abs(plain.Step().loss.item<double>() - loss), 1e-4);
  const auto found = Copy(trainer), other = Copy(plain);
  EXPECT_TRUE(at::allclose(found.at("queue").narrow(1, 0, 8), keys.t(), 1e-4, 1e-5));
  EXPECT_FALSE(at::allclose(other.at("queue").narrow(1, 0, 8), keys.t(), 1e-3, 1e-3));
  EXPECT_TRUE(at::equal(found.at("queue").narrow(1, 8, 8), queue.narrow(1, 8, 8)));
  int64_t norms = 0;
  for (const auto& [name, tensor] : statistics) {
    if (!name.starts_with("momentum_encoder.") || name.find("running_") == std::string::npos) continue;
    EXPECT_TRUE(at::allclose(found.at(name), tensor, 1e-4, 1e-5)) << name;
    EXPECT_FALSE(at::allclose(other.at(name), tensor, 1e-4, 1e-5)) << name;
    ++norms;
  }
  EXPECT_GT(norms, 2);
}

TEST(Trainer, ProjectionsAreThoseOfAllParts) {
  PretrainConfig config = Tiny(MethodKind::kSimSiam);
  config.accumulate = 4;
  Trainer trainer(config, 2, at::kCPU, at::kFloat), by_hand(config, 2, at::kCPU, at::kFloat);
  std::vector<Tensor> wanted;
  for (int64_t part = 0; part < 4; ++part) {
    trainer.Accumulate(View(part, "a", 2), View(part, "b", 2), {});
    by_hand.method().PairLoss(View(part, "a", 2).contiguous(at::MemoryFormat::ChannelsLast),
                              View(part, "b", 2).contiguous(at::MemoryFormat::ChannelsLast));
    wanted.push_back(by_hand.method().projections());
  }
  trainer.Step();
  EXPECT_EQ(trainer.projections().size(0), 8);
  EXPECT_TRUE(at::allclose(trainer.projections(), at::cat(wanted), 1e-3, 1e-4));
}

// A network without batch norms takes the same steps in one part as in several, to rounding.
TEST(Trainer, PartsTogetherAreTheWholeBatch) {
  PretrainConfig config = Tiny();
  config.backbone = "vit-tiny";
  config.width = 4.0 / 64;
  config.patch_size = 4;
  config.lr = 0.1;
  PretrainConfig several = config;
  several.accumulate = 4;
  Trainer whole(config, 2, at::kCPU, at::kFloat), parts(several, 2, at::kCPU, at::kFloat);
  const auto start = Copy(whole);
  for (int64_t step = 0; step < 3; ++step) {
    const Tensor a = View(step, "a"), b = View(step, "b"),
                 weights = UniformTensor(Seed(8).With(static_cast<uint64_t>(step)), {8}, 0.5, 1.5);
    whole.Accumulate(a, b, weights);
    for (int64_t row = 0; row < 8; row += 2)
      parts.Accumulate(a.narrow(0, row, 2), b.narrow(0, row, 2), weights.narrow(0, row, 2));
    EXPECT_NEAR(parts.Step().loss.item<double>(), whole.Step().loss.item<double>(), 1e-5);
  }
  const auto wanted = Copy(whole), found = Copy(parts);
  ASSERT_EQ(wanted.size(), found.size());
  double moved = 0, apart = 0;
  for (const auto& [name, tensor] : wanted) {
    EXPECT_TRUE(at::allclose(found.at(name).to(at::kDouble), tensor.to(at::kDouble), 1e-4, 1e-5)) << name;
    if (!name.starts_with("encoder.") && !name.starts_with("projector.")) continue;
    moved += (tensor - start.at(name)).square().sum().item<double>();
    apart += (tensor - found.at(name)).square().sum().item<double>();
  }
  EXPECT_GT(moved, 0);
  EXPECT_LT(apart, 1e-4 * moved);  // of squares: a hundredth of the way
}

TEST(Trainer, WithOnePartNoKeyIsShuffled) {
  PretrainConfig config = Tiny();
  EXPECT_TRUE(config.shuffle_bn);
  Trainer shuffled(config, 2, at::kCPU, at::kFloat);
  config.shuffle_bn = false;
  Trainer plain(config, 2, at::kCPU, at::kFloat);
  Advance(shuffled, 0, 3);
  Advance(plain, 0, 3);
  const auto wanted = Copy(plain), found = Copy(shuffled);
  for (const auto& [name, tensor] : wanted) EXPECT_TRUE(at::equal(tensor, found.at(name))) << name;
}

TEST(Trainer, ProcessesDropThePathsOfOne) {
  PretrainConfig config = Tiny(MethodKind::kMocoV3);
  config.backbone = "vit-tiny";
  config.width = 4.0 / 64;
  config.patch_size = 4;
  config.drop_path = 0.5;
  config.optimizer = OptimizerKind::kLars;
  config.gradient_clip = 0.01;
  config.accumulate = 4;
  ExpectAnyNumberOfProcesses(config);
}

INSTANTIATE_TEST_SUITE_P(All, TrainerOfEveryMethod,
                         testing::Values(MethodKind::kMocoV2, MethodKind::kSimClr, MethodKind::kSimSiam,
                                         MethodKind::kByol, MethodKind::kSwav, MethodKind::kMocoV3,
                                         MethodKind::kMultiPositive),
                         [](const auto& param) {
                           std::string name = EnumName(param.param);
                           std::erase(name, '-');
                           return name;
                         });

TEST(Trainer, WeightsOfOneChangeNothing) {
  Trainer plain(Tiny(), 2, at::kCPU, at::kFloat), weighted(Tiny(), 2, at::kCPU, at::kFloat);
  plain.Accumulate(View(0, "a"), View(0, "b"), {});
  weighted.Accumulate(View(0, "a"), View(0, "b"), at::ones({8}));
  EXPECT_TRUE(at::equal(plain.Step().loss, weighted.Step().loss));
  const auto wanted = Copy(plain), found = Copy(weighted);
  for (const auto& [name, tensor] : wanted) EXPECT_TRUE(at::equal(tensor, found.at(name))) << name;
}

TEST(Trainer, AccumulationFillsTheQueueWithTheWholeBatch) {
  PretrainConfig config = Tiny();
  config.accumulate = 2;
  Trainer trainer(config, 2, at::kCPU, at::kFloat);
  trainer.Accumulate(View(0, "a", 4), View(0, "b", 4), at::ones({4}));
  trainer.Accumulate(View(1, "a", 4), View(1, "b", 4), at::ones({4}));
  const StepReport report = trainer.Step();
  EXPECT_EQ(report.weight_std.item<double>(), 0);
  EXPECT_EQ(Copy(trainer).at("queue_ptr").item<int64_t>(), 8);
}

TEST(Trainer, SimSiamsPredictorKeepsItsRate) {
  PretrainConfig config = Tiny(MethodKind::kSimSiam);
  config.momentum = 0;
  config.weight_decay = 0;
  Trainer trainer(config, 1, at::kCPU, at::kFloat);  // 4 steps in all
  Advance(trainer, 0, 4);
  const auto before = Copy(trainer);
  Advance(trainer, 4, 5);  // past the end the cosine is at 0
  const auto after = Copy(trainer);
  EXPECT_TRUE(at::equal(before.at("encoder.conv1.weight"), after.at("encoder.conv1.weight")));
  EXPECT_FALSE(at::equal(before.at("predictor.0.weight"), after.at("predictor.0.weight")));
}

TEST(PretrainConfig, MethodsHaveValuesOfTheirOwn) {
  PretrainConfig config;
  config.batch = 512;
  EXPECT_EQ(Resolved(config).lr, 0.06);
  EXPECT_EQ(Resolved(config).augmentation, "moco-v2");
  config.method = MethodKind::kSimSiam;
  EXPECT_EQ(Resolved(config).lr, 0.1);
  config.lr = 0.7;
  EXPECT_EQ(Resolved(config).lr, 0.7);
}

TEST(PretrainConfig, OptimisersComeWithTheMethod) {
  PretrainConfig config;
  config.epochs = 300;
  config.batch = 4096;
  config.swav.queue = 0;
  const auto of = [&](MethodKind method, const std::string& backbone) {
    config.method = method;
    config.backbone = backbone;
    return Resolved(config);
  };
  const PretrainConfig moco = of(MethodKind::kMocoV2, "resnet50"), byol = of(MethodKind::kByol, "resnet50");
  EXPECT_EQ(moco.optimizer, OptimizerKind::kSgd);
  EXPECT_EQ(moco.weight_decay, 1e-4);
  EXPECT_EQ(moco.warmup_epochs, 0);
  EXPECT_EQ(moco.ema, 0.999);
  EXPECT_EQ(byol.optimizer, OptimizerKind::kLars);
  EXPECT_EQ(byol.weight_decay, 1e-6);
  EXPECT_DOUBLE_EQ(byol.lr, 4.8);
  EXPECT_EQ(byol.warmup_epochs, 10);
  EXPECT_EQ(byol.ema, 0.99);
  const PretrainConfig swav = of(MethodKind::kSwav, "resnet50"), vit = of(MethodKind::kMocoV3, "vit-small");
  EXPECT_EQ(swav.optimizer, OptimizerKind::kLarc);
  EXPECT_DOUBLE_EQ(swav.final_lr, 0.0048);
  EXPECT_EQ(vit.optimizer, OptimizerKind::kAdamW);
  EXPECT_DOUBLE_EQ(vit.lr, 2.4e-3);
  EXPECT_EQ(vit.weight_decay, 0.1);
  EXPECT_EQ(vit.warmup_epochs, 40);
  EXPECT_EQ(vit.temperature, 0.2);
  EXPECT_EQ(BackboneOf(vit).heads, 12);
  EXPECT_TRUE(BackboneOf(vit).frozen_patch);
  EXPECT_EQ(of(MethodKind::kMocoV3, "resnet50").temperature, 1.0);
}

TEST(Trainer, ClippedGradientsMakeSmallSteps) {
  PretrainConfig config = Tiny();
  config.weight_decay = 0;
  const auto moved = [&](double clip) {
    config.gradient_clip = clip;
    Trainer trainer(config, 2, at::kCPU, at::kFloat);
    const Tensor before = Copy(trainer).at("encoder.conv1.weight");
    Advance(trainer, 0, 1);
    return (Copy(trainer).at("encoder.conv1.weight") - before).abs().max().item<double>();
  };
  EXPECT_GT(moved(0), 1e-5);
  EXPECT_LT(moved(1e-6), 1e-6);
}

TEST(Trainer, LayerDecayHoldsTheStemBack) {
  PretrainConfig config = Tiny();
  config.weight_decay = 0;
  const auto moved = [&](double decay) {
    config.layer_decay = decay;
    Trainer trainer(config, 2, at::kCPU, at::kFloat);
    const auto before = Copy(trainer);
    Advance(trainer, 0, 1);
    return (Copy(trainer).at("encoder.conv1.weight") - before.at("encoder.conv1.weight")).norm().item<double>();
  };
  EXPECT_NEAR(moved(0.5) / moved(1), std::pow(0.5, 9), 1e-4);  // eight blocks
}

template <class Change>
std::string Next(Change&& change) {
  PretrainConfig config;
  change(config);
  try {
    Resolved(config);
  } catch (const UsageError& error) {
    return error.text().next;
  }
  return "accepted";
}

TEST(PretrainConfig, RefusesWhatDoesNotGoTogether) {
  EXPECT_EQ(Next([](PretrainConfig&) {}), "accepted");
  EXPECT_EQ(Next([](PretrainConfig& c) { c.queue = 1000; }), "use 768");
  EXPECT_EQ(Next([](PretrainConfig& c) {
              c.method = MethodKind::kSwav;
              c.swav.queue = 100;
            }),
            "use 256 or more, or 0 for none");
  EXPECT_EQ(Next([](PretrainConfig& c) {
              c.method = MethodKind::kSwav;
              c.backbone = "vit-tiny";
              c.swav.local_crops = 6;
            }),
            "use a ResNet, or no small crops");
  EXPECT_EQ(Next([](PretrainConfig& c) {
              c.method = MethodKind::kByol;
              c.symmetric = true;
            }),
            "leave it at false, or use `pretrain.method = \"moco-v2\"`");
  EXPECT_EQ(Next([](PretrainConfig& c) {
              c.method = MethodKind::kSimClr;
              c.ema = 0.9;
              c.ema_final = 0.99;
            }),
            "leave it at 0, or use moco-v2, byol or moco-v3");
  EXPECT_EQ(Next([](PretrainConfig& c) { c.ema_final = 0.99; }), "use 0.999 or more, or 0");
  EXPECT_EQ(Next([](PretrainConfig& c) {
              c.ema = 0.99;
              c.ema_final = 0.999;
              c.symmetric = true;
            }),
            "accepted");
  EXPECT_EQ(Next([](PretrainConfig& c) { c.accumulate = 3; }), "use a number of parts that divides the batch");
  EXPECT_EQ(Next([](PretrainConfig& c) { c.accumulate = 256; }), "use fewer parts");
  EXPECT_EQ(Next([](PretrainConfig& c) { c.pair.source = PairSource::kGenerated; }),
            "name the folder that `genview views` wrote");
  EXPECT_NE(Next([](PretrainConfig& c) { c.quality.enabled = true; }), "accepted");
}

TEST(PretrainConfig, WhatIsComputedLeavesOutPathsAndIntervals) {
  PretrainConfig a, b;
  b.out = "elsewhere";
  b.log_steps = 99;
  b.keep = 7;
  b.run.threads = 5;
  EXPECT_EQ(WhatIsComputed(a), WhatIsComputed(b));
  b.run.seed = 1;
  EXPECT_NE(WhatIsComputed(a), WhatIsComputed(b));
}

TEST(BenchStep, MeasuresARealStep) {
  BenchStepConfig config;
  config.run.precision = Precision::kFp32;
  config.width = 2.0 / 64;
  config.size = 8;
  config.batch = 8;
  config.queue = 16;
  config.steps = 3;
  Progress silent;
  const BenchStepResult result = BenchStep(config, silent);
  EXPECT_GT(result.figures.images_per_second(), 0);
  EXPECT_LE(result.figures.times.min_ms, result.figures.times.median_ms);
  EXPECT_TRUE(std::isfinite(result.loss));
  EXPECT_GT(result.figures.peak_bytes, 0u);
  EXPECT_GT(result.figures.peak_share(), 0);
  const Json json = BenchStepToJson(result);
  EXPECT_TRUE(json.contains("images_per_second"));
  EXPECT_EQ(json["precision"], "fp32");
}

TEST(BenchStep, TakesEveryMethod) {
  for (const auto& [method, name] : EnumNames<MethodKind>::kNames) {
    BenchStepConfig config;
    config.method = method;
    config.width = 2.0 / 64;
    config.size = 8;
    config.batch = 4;
    config.queue = 16;
    config.steps = 1;
    Progress silent;
    const BenchStepResult result = BenchStep(config, silent);
    EXPECT_TRUE(std::isfinite(result.loss)) << name;
    EXPECT_GT(result.figures.gflop_per_step, 0) << name;
  }
}

TEST(BenchStep, WeighsPairs) {
  BenchStepConfig config;
  config.width = 2.0 / 64;
  config.size = 32;
  config.batch = 4;
  config.queue = 16;
  config.steps = 1;
  Progress silent;
  const double plain = BenchStep(config, silent).loss;
  config.encoder = (SourceDir() / "models/demo/tower").string();
  for (const BenchQuality quality : {BenchQuality::kOnline, BenchQuality::kCached}) {
    config.quality = quality;
    const double weighed = BenchStep(config, silent).loss;
    EXPECT_TRUE(std::isfinite(weighed));
    EXPECT_NE(weighed, plain);
  }
  EXPECT_FALSE(
      std::filesystem::exists(std::filesystem::temp_directory_path() / Format("genview-bench-{}", ::getpid())));
  config.encoder.clear();
  EXPECT_THROW(BenchStep(config, silent), UsageError);
}

TEST(BenchStep, ALossThatIsNotANumberIsAnError) {
  const Path folder = Path(testing::TempDir()) / "bench-nan";
  auto net = MakeBackbone(Json{{"type", "resnet18"}, {"width", 1.0 / 64}, {"small_stem", true}, {"image_size", 16}});
  net->Init(Seed(2));
  for (const WeightRef& ref : net->Weights()) {
    if (ref.role == WeightRole::kNormScale) ref.tensor->fill_(1e38);  // its features overflow
  }
  const Json meta = {{"backbone", FieldsToJson(net->config())},
                     {"preprocess", Preprocess{.size = 16, .resize_shortest = 16}.ToJson()}};
  WriteSafetensors(folder / "encoder.safetensors", NamedTensors(net->Weights(), "encoder."),
                   {{"genview", meta.dump()}});
  BenchStepConfig config;
  config.run.precision = Precision::kFp32;
  config.width = 2.0 / 64;
  config.size = 16;
  config.batch = 4;
  config.queue = 16;
  config.steps = 1;
  config.quality = BenchQuality::kOnline;
  config.encoder = (folder / "encoder.safetensors").string();
  Progress silent;
  EXPECT_THROW(BenchStep(config, silent), Error);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace genview
