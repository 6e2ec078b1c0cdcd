#include "genview/train/lars.h"

#include "tests/golden/compare.h"

namespace genview {
namespace {

const WeightMap& Rules() {
  static const WeightMap golden = Golden("methods/lars");
  return golden;
}

struct Three {
  Tensor w, z, b;
};
WeightList ListWeights(Three& t) {
  return {{"w", &t.w, WeightRole::kWeight}, {"z", &t.z, WeightRole::kWeight}, {"b", &t.b, WeightRole::kBias}};
}

void ExpectRule(LarsVariant variant, const std::string& name) {
  Three three;
  const WeightList list = ListWeights(three);
  for (const WeightRef& ref : list) *ref.tensor = Rules().At("start." + ref.name).clone().set_requires_grad(true);
  auto optimizer = MakeLars(list, {.variant = variant, .weight_decay = 0.02});
  const double rates[] = {0.5, 1.0, 2.0, 1.0, 0.3};
  for (int64_t step = 0; step < 5; ++step) {
    for (const WeightRef& ref : list)
      ref.tensor->mutable_grad() = Rules().At(Format("gradient.{}.{}", step, ref.name)).clone();
    optimizer->Step(rates[step]);
  }
  for (const WeightRef& ref : list)
    EXPECT_CLOSE(*ref.tensor, Rules().At(name + "." + ref.name), 1e-6) << name << " " << ref.name;
}

TEST(Lars, EveryRuleFollowsItsFormula) {
  ExpectRule(LarsVariant::kMocoV3, "lars");
  ExpectRule(LarsVariant::kMmpretrain, "lars-mmpretrain");
  ExpectRule(LarsVariant::kSimclr, "lars-simclr");
  ExpectRule(LarsVariant::kSoloLearn, "lars-solo");
  ExpectRule(LarsVariant::kLarc, "larc");
}

TEST(Lars, LarcIsLightlys) { ExpectRule(LarsVariant::kLarc, "lightly"); }

// Known values of the original programs.
TEST(Lars, TwoStepsOfMocoV3AndMmpretrain) {
  for (const bool moco : {true, false}) {
    Tensor w = at::tensor({0.3, -0.2, 0.1, 0.4}, at::kFloat).view({2, 2}).set_requires_grad(true);
    auto optimizer =
        MakeLars({{"w", &w, WeightRole::kWeight}}, {.variant = moco ? LarsVariant::kMocoV3 : LarsVariant::kMmpretrain});
    w.mutable_grad() = at::tensor({0.05, 0.02, -0.01, 0.03}, at::kFloat).view({2, 2});
    optimizer->Step(0.96);
    w.mutable_grad() = at::tensor({0.01, -0.04, 0.02, 0.02}, at::kFloat).view({2, 2});
    optimizer->Step(9.6);
    const std::vector<double> end = moco ? std::vector<double>{.2947391, -.1974800, .0987400, .3953721}
                                         : std::vector<double>{.2981491, -.1961161, .0980581, .3974181};
    EXPECT_CLOSE(w.flatten(), at::tensor(end), 1e-6) << moco;
  }
}

TEST(Lars, StateComesBack) {
  Three a, b;
  for (Three* three : {&a, &b}) {
    for (const WeightRef& ref : ListWeights(*three))
      *ref.tensor = Rules().At("start." + ref.name).clone().set_requires_grad(true);
  }
  const auto step = [](Three& three, Optimizer& optimizer, int64_t k) {
    for (const WeightRef& ref : ListWeights(three))
      ref.tensor->mutable_grad() = Rules().At(Format("gradient.{}.{}", k, ref.name)).clone();
    optimizer.Step(0.5);
  };
  auto first = MakeLars(ListWeights(a), {});
  step(a, *first, 0);
  WeightMap saved("memory");
  for (const auto& [name, tensor] : first->State()) saved.Add(name, tensor.clone());
  for (size_t i = 0; i < ListWeights(a).size(); ++i)
    *ListWeights(b)[i].tensor = ListWeights(a)[i].tensor->detach().clone().set_requires_grad(true);
  auto second = MakeLars(ListWeights(b), {});
  WeightReader reader(saved);
  second->LoadState(reader);
  reader.Finish();
  step(a, *first, 1);
  step(b, *second, 1);
  for (size_t i = 0; i < ListWeights(a).size(); ++i)
    EXPECT_TRUE(at::equal(*ListWeights(a)[i].tensor, *ListWeights(b)[i].tensor));
}

TEST(LayerDecay, FollowsTimm) {
  const WeightMap golden = Golden("methods/layer_decay");
  for (const std::string kind : {"vit", "resnet"}) {
    WeightList list;
    Tensor any = at::zeros({1});
    const WeightMap factors = golden.WithPrefixRemoved(kind + ".");
    for (const auto& [name, factor] : factors.tensors()) list.push_back({"encoder." + name, &any, WeightRole::kWeight});
    const std::vector<GroupRule> rules = LayerDecay(list, 0.7);
    for (const WeightRef& ref : list) {
      double factor = 1;
      for (const GroupRule& rule : rules) factor = rule.matches(ref) ? rule.lr_factor : factor;
      EXPECT_NEAR(factor, factors.At(ref.name.substr(8)).item<double>(), 1e-6) << ref.name;
    }
    for (const GroupRule& rule : rules) EXPECT_FALSE(rule.matches({"projector.0.weight", &any, WeightRole::kWeight}));
  }
}

}  // namespace
}  // namespace genview
