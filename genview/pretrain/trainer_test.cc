#include "genview/pretrain/trainer.h"

#include <gtest/gtest.h>

#include <map>

#include "genview/base/error.h"
#include "genview/pretrain/bench_step.h"
#include "genview/pretrain/flop_count.h"

namespace genview {
namespace {

PretrainConfig Tiny(MethodKind method = MethodKind::kMocoV2) {
  PretrainConfig config;
  config.method = method;
  config.width = 2.0 / 64;
  config.small_stem = true;
  config.size = 8;
  config.batch = 8;
  config.queue = 16;
  config.projector_output = 8;
  config.epochs = 4;
  config.run.precision = Precision::kFp32;
  return Resolved(config);
}

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
  // The queue of moco-v2 would hold the very pictures that are to be told from it.
  if (GetParam() == MethodKind::kMocoV2) return;
  PretrainConfig config = Tiny(GetParam());
  config.lr = 0.05;
  Trainer trainer(config, 20, at::kCPU, at::kFloat);
  std::vector<double> losses;
  for (int64_t step = 0; step < 20; ++step) {
    trainer.Accumulate(View(0, "a"), View(0, "a") + 0.1 * View(0, "b"), {});
    losses.push_back(trainer.Step().loss.item<double>());
  }
  EXPECT_LT(losses.back(), losses.front());
}

INSTANTIATE_TEST_SUITE_P(All, TrainerOfEveryMethod,
                         testing::Values(MethodKind::kMocoV2, MethodKind::kSimClr, MethodKind::kSimSiam),
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
  for (const auto& [name, tensor] : trainer.State()) {
    if (name != "queue_ptr") continue;
    EXPECT_EQ(tensor.item<int64_t>(), 8);
  }
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
  EXPECT_EQ(Next([](PretrainConfig& c) { c.accumulate = 3; }), "use a number of parts that divides the batch");
  EXPECT_EQ(Next([](PretrainConfig& c) { c.accumulate = 256; }), "use fewer parts");
  EXPECT_EQ(Next([](PretrainConfig& c) { c.pair.source = PairSource::kGenerated; }), "name the folder that `genview views` wrote");
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
  config.width = 2.0 / 64;
  config.size = 8;
  config.batch = 8;
  config.queue = 16;
  config.steps = 3;
  Progress silent;
  const BenchStepResult result = BenchStep(config, silent);
  EXPECT_GT(result.pairs_per_second, 0);
  EXPECT_LE(result.min_ms, result.median_ms);
  EXPECT_TRUE(std::isfinite(result.loss));
  EXPECT_GT(result.peak_bytes, 0u);
  EXPECT_GT(result.peak_share, 0);
  EXPECT_TRUE(BenchStepToJson(result).contains("images_per_second"));
}

TEST(CountFlops, CountsProductsAndConvolutionsBothWays) {
  const Tensor x = at::ones({2, 3, 8, 8}), a = at::ones({5, 7}), b = at::ones({7, 11});
  const Tensor weight = at::ones({4, 3, 3, 3}).set_requires_grad(true);
  const double convolution = 2.0 * (4 * 3 * 3 * 3) * (2 * 8 * 8);
  EXPECT_EQ(CountFlops([&] { at::mm(a, b); }), 2.0 * 5 * 7 * 11);
  EXPECT_EQ(CountFlops([&] { at::linear(a, b.t(), at::ones({11})); }), 2.0 * 5 * 7 * 11);
  EXPECT_EQ(CountFlops([&] { at::conv2d(x, weight, {}, 1, 1); }), convolution);
  // The input wants no gradient, so the way back is one more of the same size.
  EXPECT_EQ(CountFlops([&] { at::conv2d(x, weight, {}, 1, 1).sum().backward(); }), 2 * convolution);
}

}  // namespace
}  // namespace genview
