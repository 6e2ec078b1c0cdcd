#include "genview/ssl/method.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "genview/base/error.h"
#include "genview/ssl/collapse.h"
#include "genview/ssl/losses.h"
#include "genview/ssl/momentum_network.h"

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
    return MakeDouble({.kind = GetParam(),
                       .queue = 8,
                       .momentum = 0.9,
                       .hidden = 10,
                       .output = 6,
                       .predictor = 5,
                       .swav = {.prototypes = 7}},
                      seed);
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

// Gradient of the weighted mean = weighted mean of the gradients of the single losses.
void ExpectWeightsScaleGradients(const std::function<std::unique_ptr<Method>()>& make) {
  auto whole = make();
  SetRequiresGrad(whole->Weights(), true);
  const Tensor weight = at::tensor({0.0, 2.0, 0.5, 1.5}, at::kDouble);
  (whole->PairLoss(Views(1), Views(2)) * weight).mean().backward();
  std::map<std::string, Tensor> sum;
  for (int64_t i = 0; i < 4; ++i) {
    auto single = make();
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

TEST_P(EveryMethod, AWeightOfZeroTakesAPairOutOfTheGradientOfItsLoss) {
  ExpectWeightsScaleGradients([&] { return Make(); });
}

INSTANTIATE_TEST_SUITE_P(All, EveryMethod,
                         testing::Values(MethodKind::kMocoV2, MethodKind::kSimClr, MethodKind::kSimSiam,
                                         MethodKind::kByol, MethodKind::kSwav, MethodKind::kMocoV3,
                                         MethodKind::kMultiPositive),
                         [](const auto& param) {
                           std::string name = EnumName(param.param);
                           std::erase(name, '-');
                           return name;
                         });

std::unique_ptr<Method> Moco(int64_t queue) { return MakeDouble({.queue = queue, .momentum = 0.9, .output = 6}); }

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
  EXPECT_TRUE(at::allclose(queue.narrow(1, 0, 4),
                           queue.narrow(1, 4, 4)));  // the weights did not move, so the keys are the same
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

MethodConfig SymmetricMoco() {
  return {.temperature = 0.2, .queue = 8, .momentum = 0.9, .symmetric = true, .hidden = 10, .output = 6};
}

// The definition once more, from the parts: q1 among the keys of second views, q2 among those of first ones.
TEST(MocoV2, SymmetricIsTheMeanOfBothDirections) {
  auto method = MakeDouble(SymmetricMoco()), again = MakeDouble(SymmetricMoco());
  auto weights = Tensors(again->Weights());
  const Tensor queue = Tensors(again->Extra())["queue"];
  ASSERT_EQ(queue.sizes(), (std::vector<int64_t>{2, 6, 8}));
  EXPECT_TRUE(at::allclose(queue.norm(2, {1}, false), at::ones({2, 8}, at::kDouble)));
  EXPECT_FALSE(at::allclose(queue[0], queue[1]));
  Head head = MocoV2Projector(16, 10, 6);
  ConvertWeights(ListWeights(head), at::kDouble);
  for (const WeightRef& ref : ListWeights(head)) ref.tensor->copy_(weights["projector." + ref.name]);
  // The copy begins as the network itself, so a view's key is its query.
  const auto project = [&](const Tensor& view) {
    return ForwardHead(head, again->encoder()->Forward(view, /*training=*/true).pooled, true);
  };
  const Tensor z1 = project(Views(1)), z2 = project(Views(2));
  const Tensor loss = method->PairLoss(Views(1), Views(2));
  EXPECT_TRUE(at::allclose(loss, (InfoNce(z1, z2, queue[1], 0.2) + InfoNce(z2, z1, queue[0], 0.2)) / 2, 1e-9, 1e-12));
  EXPECT_TRUE(at::allclose(method->projections(), z1, 1e-9, 1e-12));
  method->AfterStep(0, 10);
  const Tensor filled = Tensors(method->Extra())["queue"];
  EXPECT_TRUE(at::allclose(filled[0].narrow(1, 0, 4), UnitRows(z1).t(), 1e-9, 1e-12));
  EXPECT_TRUE(at::allclose(filled[1].narrow(1, 0, 4), UnitRows(z2).t(), 1e-9, 1e-12));
  EXPECT_TRUE(at::equal(filled.narrow(2, 4, 4), queue.narrow(2, 4, 4)));
  EXPECT_EQ(Tensors(method->Extra())["queue_ptr"].item<int64_t>(), 4);
}

TEST(MocoV2, ChangedPlacesGiveTheSameSymmetricLoss) {
  auto a = MakeDouble(SymmetricMoco()), b = MakeDouble(SymmetricMoco());
  Tensor queue = Tensors(b->Extra())["queue"];
  queue.copy_(at::stack({queue[1], queue[0]}));  // the queues change places, too
  EXPECT_TRUE(at::allclose(a->PairLoss(Views(1), Views(2)), b->PairLoss(Views(2), Views(1)), 1e-9, 1e-12));
}

TEST(MocoV2, AWeightScalesBothDirectionsOfItsPair) {
  ExpectWeightsScaleGradients([] { return MakeDouble(SymmetricMoco()); });
}

TEST(MocoV2, AccumulatedStepsFillBothQueues) {
  auto method = MakeDouble(SymmetricMoco());
  const Tensor before = Tensors(method->Extra())["queue"].clone();
  method->PairLoss(Views(1, 2), Views(2, 2));
  method->PairLoss(Views(3, 2), Views(4, 2));
  method->AfterStep(0, 10);
  const Tensor queue = Tensors(method->Extra())["queue"];
  EXPECT_EQ(Tensors(method->Extra())["queue_ptr"].item<int64_t>(), 4);
  EXPECT_TRUE(at::allclose(queue.norm(2, {1}, false), at::ones({2, 8}, at::kDouble)));
  EXPECT_TRUE(at::equal(queue.narrow(2, 4, 4), before.narrow(2, 4, 4)));
  for (int64_t place = 0; place < 4; ++place)
    EXPECT_FALSE(at::equal(queue.select(2, place), before.select(2, place))) << place;
}

// How far the copy goes from 0 towards weights of 1.
double Followed(const MethodConfig& config, int64_t step, int64_t total_steps) {
  auto method = MakeDouble(config);
  auto now = Tensors(method->Weights()), slow = Tensors(method->Extra());
  now["encoder.conv1.weight"].fill_(1);
  slow["momentum_encoder.conv1.weight"].fill_(0);
  method->PairLoss(Views(1), Views(2));
  method->AfterStep(step, total_steps);
  return slow["momentum_encoder.conv1.weight"].mean().item<double>();
}

TEST(MomentumAt, MethodsRiseToWhatTheConfigSays) {
  MethodConfig config{.queue = 8, .momentum = 0.9, .hidden = 10, .output = 6, .predictor = 5};
  EXPECT_NEAR(Followed(config, 10, 10), 0.1, 1e-9);  // MoCo v2's stays
  config.final_momentum = 0.96;
  EXPECT_NEAR(Followed(config, 0, 10), 0.1, 1e-9);
  EXPECT_NEAR(Followed(config, 5, 10), 0.07, 1e-9);
  EXPECT_NEAR(Followed(config, 10, 10), 0.04, 1e-9);
  config.kind = MethodKind::kByol;
  EXPECT_NEAR(Followed(config, 0, 10), 0.1, 1e-9);
  EXPECT_NEAR(Followed(config, 10, 10), 0.04, 1e-9);
  config.kind = MethodKind::kMocoV3;
  EXPECT_NEAR(Followed(config, 9, 10), 0.04, 1e-9);
  config.final_momentum = 0;
  EXPECT_NEAR(Followed(config, 9, 10), 0, 1e-9);
}

TEST(MomentumAt, FollowsTheHalfCosine) {  // 1 - momentum from 0.01 over 100 steps
  EXPECT_NEAR(MomentumAt(0.99, 1, 0, 100), 0.99, 1e-12);
  EXPECT_NEAR(MomentumAt(0.99, 1, 1, 100), 0.9900025, 1e-7);
  EXPECT_NEAR(MomentumAt(0.99, 1, 50, 100), 0.995, 1e-12);
  EXPECT_NEAR(MomentumAt(0.99, 1, 99, 100), 0.9999975, 1e-7);
  EXPECT_EQ(MomentumAt(0.99, 0.99, 37, 100), 0.99);
}

TEST(Byol, LossLiesBetweenNothingAndEight) {
  auto method = MakeDouble({.kind = MethodKind::kByol, .hidden = 10, .output = 6, .predictor = 5});
  const Tensor loss = method->PairLoss(Views(1), Views(2));
  EXPECT_TRUE(((loss >= 0) & (loss <= 8)).all().item<bool>());
}

TEST(Byol, TargetStandsStillAtTheEnd) {
  auto method = MakeDouble({.kind = MethodKind::kByol, .momentum = 0.9, .hidden = 10, .output = 6, .predictor = 5});
  auto now = Tensors(method->Weights()), slow = Tensors(method->Extra());
  const Tensor before = slow["momentum_encoder.conv1.weight"].clone();
  now["encoder.conv1.weight"].add_(1);
  method->AfterStep(10, 10);
  EXPECT_TRUE(at::equal(slow["momentum_encoder.conv1.weight"], before));
  method->AfterStep(0, 10);
  EXPECT_TRUE(at::allclose(slow["momentum_encoder.conv1.weight"], before + 0.1, 1e-5, 1e-6));
}

MethodConfig SmallSwav() {
  return {.kind = MethodKind::kSwav, .temperature = 0.1, .hidden = 10, .output = 6, .swav = {.prototypes = 7}};
}

TEST(Swav, PrototypesStayOnTheSphere) {
  auto method = MakeDouble(SmallSwav());
  Tensor prototypes = Tensors(method->Weights())["prototypes.weight"];
  EXPECT_TRUE(at::allclose(prototypes.norm(2, {1}, false), at::ones({7}, at::kDouble)));
  prototypes.mul_(3);
  method->PairLoss(Views(1), Views(2));
  method->AfterStep(0, 10);
  EXPECT_TRUE(at::allclose(prototypes.norm(2, {1}, false), at::ones({7}, at::kDouble)));
}

TEST(Swav, PrototypesAreFrozenAtFirst) {
  MethodConfig config = SmallSwav();
  config.swav.frozen_steps = 1;
  auto method = MakeDouble(config);
  SetRequiresGrad(method->Weights(), true);
  const Tensor prototypes = Tensors(method->Weights())["prototypes.weight"];
  for (int64_t step = 0; step < 2; ++step) {
    method->PairLoss(Views(1), Views(2)).mean().backward();
    EXPECT_EQ(prototypes.grad().defined(), step == 1);
    EXPECT_TRUE(Tensors(method->Weights())["encoder.conv1.weight"].grad().defined());
    ZeroGrad(method->Weights());
    method->AfterStep(step, 10);
  }
}

TEST(Swav, QueueFillsFromItsStepAndThenTakesPart) {
  MethodConfig config = SmallSwav();
  config.swav.queue = 8;
  config.swav.queue_from_step = 1;
  auto with = MakeDouble(config), without = MakeDouble(SmallSwav());
  const Tensor queue = Tensors(with->Extra())["queue"];
  for (int64_t step = 0; step < 4; ++step) {
    const auto view = [&](uint64_t seed) { return Views(seed + 10 * static_cast<uint64_t>(step)); };
    const Tensor a = with->PairLoss(view(1), view(2)), b = without->PairLoss(view(1), view(2));
    EXPECT_EQ(at::allclose(a, b, 1e-9, 1e-12), step < 3) << step;  // 4 + 4 features fill it
    const Tensor first = with->projections();
    with->AfterStep(step, 10);
    without->AfterStep(step, 10);
    EXPECT_EQ(queue.any().item<bool>(), step >= 1) << step;
    EXPECT_EQ(queue[0][-1].any().item<bool>(), step >= 2) << step;
    EXPECT_EQ(at::equal(queue[0].narrow(0, 0, 4), first), step >= 1) << step;
  }
}

TEST(Swav, SmallCropsPredictBothAssignments) {
  // The definition once more: of V crops each assignment is predicted by all others but its own.
  auto method = MakeDouble(SmallSwav()), again = MakeDouble(SmallSwav());
  const std::vector<Tensor> local{Views(3).slice(2, 0, 4).slice(3, 0, 4), Views(4).slice(2, 0, 4).slice(3, 0, 4)};
  const Tensor loss = method->MultiViewLoss(Views(1), Views(2), local);
  auto weights = Tensors(again->Weights());
  const auto pooled = [&](const std::vector<Tensor>& views) {
    return again->encoder()->Forward(at::cat(views), true).pooled;
  };
  Head head = SwavProjector(16, 10, 6);
  ConvertWeights(ListWeights(head), at::kDouble);
  for (const WeightRef& ref : ListWeights(head)) ref.tensor->copy_(weights["projector." + ref.name]);
  const Tensor z = UnitRows(ForwardHead(head, at::cat({pooled({Views(1), Views(2)}), pooled(local)}), true));
  const auto scores = PrototypeScores(z, weights["prototypes.weight"]).split(4);
  Tensor sum = at::zeros({4}, at::kDouble);
  for (const auto& [c, v] : std::vector<std::pair<int, int>>{{0, 1}, {0, 2}, {0, 3}, {1, 0}, {1, 2}, {1, 3}}) {
    sum += AssignmentCrossEntropy(SinkhornAssignment(scores[static_cast<size_t>(c)], 0.05, 3),
                                  scores[static_cast<size_t>(v)], 0.1);
  }
  EXPECT_TRUE(at::allclose(loss, sum / 6, 1e-9, 1e-12));
  EXPECT_TRUE(at::equal(MakeDouble(SmallSwav())->MultiViewLoss(Views(1), Views(2), {}),
                        MakeDouble(SmallSwav())->PairLoss(Views(1), Views(2))));
}

TEST(MocoV3, HeadsDependOnTheEncoder) {
  const auto norms = [](const std::string& type) {
    BackboneConfig backbone;
    backbone.type = type;
    backbone.width = 1.0 / 16;
    backbone.image_size = 8;
    backbone.patch_size = 4;
    backbone.layers = 1;
    std::set<std::string> names;
    for (const WeightRef& ref :
         MakeMethod({.kind = MethodKind::kMocoV3, .hidden = 8, .output = 6, .predictor = 8}, backbone, Seed(0))
             ->Weights()) {
      if (ref.name.ends_with("running_mean") && !ref.name.starts_with("encoder.")) names.insert(ref.name);
    }
    return names;
  };
  EXPECT_EQ(norms("resnet18"), (std::set<std::string>{"projector.1.running_mean", "projector.4.running_mean",
                                                      "predictor.1.running_mean"}));
  EXPECT_EQ(norms("vit-tiny"),
            (std::set<std::string>{"projector.1.running_mean", "projector.4.running_mean", "projector.7.running_mean",
                                   "predictor.1.running_mean", "predictor.4.running_mean"}));
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
  // Two rows lie on a line, and three could do so by chance.
  EXPECT_FALSE(MeasureSpread(NormalTensor(Seed(1), {2, 16})).collapsed());
  EXPECT_TRUE(MeasureSpread(at::ones({2, 16})).collapsed());
  const Tensor four = NormalTensor(Seed(1), {4, 1}) * NormalTensor(Seed(2), {1, 16});
  EXPECT_TRUE(MeasureSpread(four).collapsed());
  EXPECT_FALSE(MeasureSpread(four.narrow(0, 0, 3) + 0.5 * NormalTensor(Seed(3), {3, 16})).collapsed());
}

TEST(MultiPositive, WithTwoViewsIsSimClr) {
  const MethodConfig config{.temperature = 0.2, .hidden = 10, .output = 6};
  MethodConfig several = config, two = config;
  several.kind = MethodKind::kMultiPositive;
  two.kind = MethodKind::kSimClr;
  EXPECT_TRUE(at::allclose(MakeDouble(several)->PairLoss(Views(1), Views(2)),
                           MakeDouble(two)->PairLoss(Views(1), Views(2)), 1e-10));
}

TEST(MultiPositive, FurtherViewsTakePart) {
  auto method = MakeDouble({.kind = MethodKind::kMultiPositive, .temperature = 0.2, .hidden = 10, .output = 6});
  SetRequiresGrad(method->Weights(), true);
  const Tensor loss = method->MultiViewLoss(Views(1), Views(2), {Views(3), Views(4)});
  ASSERT_EQ(loss.sizes(), (std::vector<int64_t>{4}));
  EXPECT_EQ(method->projections().size(0), 4);
  auto again = MakeDouble({.kind = MethodKind::kMultiPositive, .temperature = 0.2, .hidden = 10, .output = 6});
  EXPECT_FALSE(at::allclose(again->MultiViewLoss(Views(1), Views(2), {Views(3), Views(5)}), loss));
}

TEST(MomentumNetwork, KnowsNoDropPath) {
  BackboneConfig config = Tiny("vit-tiny");
  config.width = 1.0 / 16;
  config.image_size = 8;
  config.patch_size = 4;
  config.drop_path = 0.8;
  auto online = MakeBackbone(config);
  online->Init(Seed(0));
  MomentumNetwork slow(config, {});
  slow.Copy([&] {
    WeightList list;
    AppendAll(list, "encoder", online->Weights());
    return list;
  }());
  const Tensor views = Views(1).to(at::kFloat);
  EXPECT_TRUE(at::equal(slow.Project(views), online->Forward(views, /*training=*/false).pooled));
  EXPECT_FALSE(at::equal(slow.Project(views), online->Forward(views, /*training=*/true).pooled));
}

}  // namespace
}  // namespace genview
