#include "genview/ssl/method.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "genview/base/error.h"
#include "genview/ssl/collapse.h"
#include "genview/ssl/losses.h"

namespace genview {
namespace {

BackboneConfig Tiny(const std::string& type = "resnet18") {
  BackboneConfig config;
  config.type = type;
  config.width = 2.0 / 64;
  config.small_stem = true;
  return config;
}

// In float64: batch norms over a few small maps make a lot of little rounding.
Tensor Views(uint64_t seed, int64_t n = 4) { return NormalTensor(Seed(seed), {n, 3, 8, 8}).to(at::kDouble); }

std::unique_ptr<Method> MakeDouble(const MethodConfig& config, uint64_t seed = 0) {
  auto method = MakeMethod(config, Tiny(), Seed(seed));
  ConvertWeights(method->Weights(), at::kDouble);
  ConvertWeights(method->Extra(), at::kDouble);
  return method;
}

std::map<std::string, Tensor> Tensors(WeightList list) {
  std::map<std::string, Tensor> tensors;
  for (const WeightRef& ref : list) tensors[ref.name] = *ref.tensor;
  return tensors;
}

class EveryMethod : public testing::TestWithParam<MethodKind> {
 protected:
  static std::unique_ptr<Method> Make(uint64_t seed = 0) {
    return MakeDouble({.kind = GetParam(), .queue = 8, .momentum = 0.9, .output = 6}, seed);
  }
};

TEST_P(EveryMethod, GivesOneFiniteLossAPairAndGradientsEverywhere) {
  auto method = Make();
  SetRequiresGrad(method->Weights(), true);
  const Tensor loss = method->PairLoss(Views(1), Views(2));
  ASSERT_EQ(loss.sizes(), (std::vector<int64_t>{4}));
  EXPECT_TRUE(at::isfinite(loss).all().item<bool>());
  EXPECT_EQ(method->projections().size(0), 4);
  loss.mean().backward();
  std::set<std::string> names;
  for (const WeightRef& ref : method->Weights()) {
    EXPECT_TRUE(names.insert(ref.name).second) << ref.name;
    EXPECT_EQ(ref.tensor->grad().defined(), ref.role != WeightRole::kBuffer) << ref.name;
  }
  for (const WeightRef& ref : method->Extra()) {
    EXPECT_TRUE(names.insert(ref.name).second) << ref.name;
    EXPECT_FALSE(ref.tensor->requires_grad()) << ref.name;
  }
}

TEST_P(EveryMethod, DependsOnItsSeedAlone) {
  auto a = Make(1), b = Make(1), c = Make(2);
  EXPECT_TRUE(at::equal(a->PairLoss(Views(1), Views(2)), b->PairLoss(Views(1), Views(2))));
  EXPECT_FALSE(at::equal(a->PairLoss(Views(1), Views(2)), c->PairLoss(Views(1), Views(2))));
}

TEST_P(EveryMethod, AWeightOfZeroTakesAPairOutOfTheGradientOfItsLoss) {
  // Gradient of the weighted mean = weighted mean of the gradients of the single losses.
  auto whole = Make();
  SetRequiresGrad(whole->Weights(), true);
  const Tensor weight = at::tensor({0.0, 2.0, 0.5, 1.5}, at::kDouble);
  (whole->PairLoss(Views(1), Views(2)) * weight).mean().backward();
  std::map<std::string, Tensor> sum;
  for (int64_t i = 0; i < 4; ++i) {
    auto single = Make();
    SetRequiresGrad(single->Weights(), true);
    single->PairLoss(Views(1), Views(2))[i].backward();
    for (const WeightRef& ref : single->Weights()) {
      if (!ref.tensor->grad().defined()) continue;
      const Tensor part = ref.tensor->grad() * (weight[i] / 4);
      sum[ref.name] = sum[ref.name].defined() ? sum[ref.name] + part : part;
    }
  }
  for (const WeightRef& ref : whole->Weights()) {
    if (!ref.tensor->grad().defined()) continue;
    EXPECT_TRUE(at::allclose(ref.tensor->grad(), sum[ref.name], 1e-6, 1e-9)) << ref.name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryMethod, testing::Values(MethodKind::kMocoV2, MethodKind::kSimClr, MethodKind::kSimSiam),
                         [](const auto& param) {
                           std::string name = EnumName(param.param);
                           std::erase(name, '-');
                           return name;
                         });

std::unique_ptr<Method> Moco(int64_t queue) {
  return MakeDouble({.queue = queue, .momentum = 0.9, .output = 6});
}

TEST(MocoV2, QueueBeginsOnTheSphereAndTakesTheKeysInTurn) {
  auto method = Moco(8);
  Tensor queue = Tensors(method->Extra())["queue"];
  const Tensor place = Tensors(method->Extra())["queue_ptr"];
  EXPECT_TRUE(at::allclose(queue.norm(2, {0}, false), at::ones({8}, at::kDouble)));
  const Tensor before = queue.clone();
  for (int64_t step = 0; step < 2; ++step) {
    method->PairLoss(Views(1), Views(2));
    method->AfterStep(step, 10);
    EXPECT_EQ(place.item<int64_t>(), step == 0 ? 4 : 0);
  }
  EXPECT_FALSE(at::allclose(queue, before));
  EXPECT_TRUE(at::allclose(queue.narrow(1, 0, 4), queue.narrow(1, 4, 4)));  // the weights did not move, so the keys are the same
  EXPECT_TRUE(at::allclose(queue.norm(2, {0}, false), at::ones({8}, at::kDouble)));
}

TEST(MocoV2, AccumulatedStepsFillTheQueueOnce) {
  auto method = Moco(8);
  method->PairLoss(Views(1, 2), Views(2, 2));
  method->PairLoss(Views(3, 2), Views(4, 2));
  method->AfterStep(0, 10);
  EXPECT_EQ(Tensors(method->Extra())["queue_ptr"].item<int64_t>(), 4);
}

TEST(MocoV2, QueueMustBeAMultipleOfTheBatch) {
  auto method = Moco(10);
  method->PairLoss(Views(1), Views(2));
  try {
    method->AfterStep(0, 10);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().next, "use a queue of 8");
  }
}

TEST(MocoV2, MomentumNetworkFollowsSlowly) {
  auto method = Moco(8);
  auto now = Tensors(method->Weights()), slow = Tensors(method->Extra());
  EXPECT_TRUE(at::equal(now["encoder.conv1.weight"], slow["momentum_encoder.conv1.weight"]));
  now["encoder.conv1.weight"].add_(1);
  method->PairLoss(Views(1), Views(2));
  method->AfterStep(0, 10);
  EXPECT_TRUE(at::allclose(slow["momentum_encoder.conv1.weight"], now["encoder.conv1.weight"] - 0.9, 1e-5, 1e-6));
}

TEST(FeatureSpread, TellsHealthyFromCollapsed) {
  const FeatureSpread healthy = MeasureSpread(NormalTensor(Seed(1), {256, 16}));
  EXPECT_NEAR(healthy.std, 1 / 4.0, 0.01);
  EXPECT_NEAR(healthy.relative_std, 1, 0.04);
  EXPECT_NEAR(healthy.effective_rank, 16, 0.5);
  EXPECT_FALSE(healthy.collapsed());
  const FeatureSpread point = MeasureSpread(at::ones({32, 16}) + 1e-3 * NormalTensor(Seed(1), {32, 16}));
  EXPECT_LT(point.relative_std, 0.01);
  EXPECT_TRUE(point.collapsed());
  const FeatureSpread line = MeasureSpread(NormalTensor(Seed(1), {64, 1}) * NormalTensor(Seed(2), {1, 16}));
  EXPECT_NEAR(line.effective_rank, 1, 1e-3);
  EXPECT_TRUE(line.collapsed());
  EXPECT_EQ(MeasureSpread(at::ones({4, 8})).effective_rank, 0);
}

}  // namespace
}  // namespace genview
