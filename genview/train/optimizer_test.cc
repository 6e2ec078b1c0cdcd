#include "genview/train/optimizer.h"

#include "tests/golden/compare.h"

namespace genview {
namespace {

struct Toy {
  ConvWeights conv = MakeConv(3, 4, 3, false);
  LinearWeights fc = MakeLinear(4, 5);
};
WeightList ListWeights(Toy& toy) {
  WeightList list;
  Append(list, "conv", toy.conv);
  Append(list, "fc", toy.fc);
  return list;
}

const WeightMap& Torch() {
  static const WeightMap golden = Golden("train/optimizers");
  return golden;
}

void Start(Toy& toy, bool channels_last = false) {
  for (const WeightRef& ref : ListWeights(toy)) *ref.tensor = Torch().At("start." + ref.name).clone();
  if (channels_last) UseChannelsLast(ListWeights(toy));
  SetRequiresGrad(ListWeights(toy), true);
}

// `late` has its first gradient at step 3.
void Steps(Toy& toy, Optimizer& optimizer, int64_t from, int64_t to, const std::string& late = "") {
  for (int64_t step = from; step < to; ++step) {
    for (const WeightRef& ref : ListWeights(toy)) {
      if (ref.name == late && step < 3) continue;
      ref.tensor->mutable_grad() = Torch().At(Format("gradient.{}.{}", step, ref.name)).clone();
    }
    optimizer.Step(0.1 / static_cast<double>(step + 1));
  }
}

void ExpectGolden(Toy& toy, const std::string& name, const WeightMap& golden = Torch()) {
  for (const WeightRef& ref : ListWeights(toy))
    EXPECT_CLOSE(*ref.tensor, golden.At(name + "." + ref.name), 1e-6) << ref.name;
}

TEST(Sgd, FollowsPyTorch) {
  Toy toy;
  Start(toy);
  Steps(toy, *MakeSgd(ListWeights(toy), {.momentum = 0.9, .weight_decay = 1e-2}), 0, 5);
  ExpectGolden(toy, "sgd");
  Start(toy);
  Steps(toy, *MakeSgd(ListWeights(toy), {.momentum = 0.9, .weight_decay = 1e-2, .nesterov = true}), 0, 5);
  ExpectGolden(toy, "nesterov");
  Start(toy);
  Steps(toy, *MakeSgd(ListWeights(toy), {.momentum = 0, .weight_decay = 0}), 0, 5);
  ExpectGolden(toy, "plain");
}

TEST(Sgd, ChannelsLastWeightsTakeGradientsOfAnyLayout) {
  Toy toy;
  Start(toy, /*channels_last=*/true);
  ASSERT_TRUE(toy.conv.weight.is_contiguous(at::MemoryFormat::ChannelsLast));
  Steps(toy, *MakeSgd(ListWeights(toy), {.momentum = 0.9, .weight_decay = 1e-2}), 0, 5);
  ExpectGolden(toy, "sgd");
}

std::vector<GroupRule> ToyRules() {
  return {NoDecayForBiasAndNorms(), {.matches = NameBegins("conv."), .lr_factor = 0.5}};
}

TEST(Sgd, RulesMakeGroups) {
  Toy toy;
  Start(toy);
  Steps(toy, *MakeSgd(ListWeights(toy), {.momentum = 0.9, .weight_decay = 1e-2}, ToyRules()), 0, 5);
  ExpectGolden(toy, "groups");
}

TEST(AdamW, FollowsPyTorch) {
  Toy toy;
  Start(toy);
  Steps(toy, *MakeAdamW(ListWeights(toy), {.weight_decay = 0.05}), 0, 5);
  ExpectGolden(toy, "adamw");
  Start(toy, /*channels_last=*/true);
  Steps(toy, *MakeAdamW(ListWeights(toy), {.beta1 = 0.8, .beta2 = 0.95, .weight_decay = 0.05, .eps = 1e-6}, ToyRules()),
        0, 5);
  ExpectGolden(toy, "adamw_groups");
}

TEST(AdamW, AWeightWithoutGradientsAtFirstBeginsThen) {
  Toy toy;
  Start(toy);
  Steps(toy, *MakeAdamW(ListWeights(toy), {.weight_decay = 0.05}), 0, 5, /*late=*/"fc.weight");
  ExpectGolden(toy, "adamw_late", Golden("train/adamw_late"));
}

TEST(AdamW, TakesTheStateOfVersionsThatCountedTogether) {
  Toy toy;
  Start(toy);
  auto optimizer = MakeAdamW(ListWeights(toy), {.weight_decay = 0.05});
  Steps(toy, *optimizer, 0, 3);
  WeightMap saved("memory");
  for (const auto& [name, tensor] : optimizer->State()) {
    if (!name.starts_with("optimizer.updates.")) saved.Add(name, tensor.clone());
  }
  saved.Add("optimizer.step", at::full({}, 3, at::kLong));
  auto resumed = MakeAdamW(ListWeights(toy), {.weight_decay = 0.05});
  WeightReader reader(saved);
  resumed->LoadState(reader);
  reader.Finish();
  Steps(toy, *resumed, 3, 5);
  ExpectGolden(toy, "adamw");
}

TEST(Optimizer, FixedRateIgnoresTheSchedule) {
  Toy toy;
  Start(toy);
  auto optimizer =
      MakeSgd(ListWeights(toy), {.momentum = 0, .weight_decay = 0}, {{.matches = NameBegins("fc."), .fixed_lr = 1}});
  const Tensor before = toy.fc.bias.detach().clone(), conv = toy.conv.weight.detach().clone();
  for (const WeightRef& ref : ListWeights(toy)) ref.tensor->mutable_grad() = at::ones_like(*ref.tensor);
  optimizer->Step(0);
  EXPECT_TRUE(at::equal(toy.fc.bias.detach(), before - 1));
  EXPECT_TRUE(at::equal(toy.conv.weight.detach(), conv));
}

TEST(Optimizer, WeightsWithoutGradientStay) {
  Toy toy;
  Start(toy);
  auto optimizer = MakeAdamW(ListWeights(toy), {});
  optimizer->Step(0.1);
  ExpectGolden(toy, "start");
}

template <class Make>
void ExpectResumeIsExact(Make&& make) {
  Toy whole, first, second;
  Start(whole, true);
  Start(first, true);
  Steps(whole, *make(whole), 0, 5);
  auto optimizer = make(first);
  Steps(first, *optimizer, 0, 3);
  WeightMap saved("memory");
  for (const auto& [name, tensor] : optimizer->State()) saved.Add(name, tensor.contiguous());
  for (const auto& [name, tensor] : NamedTensors(ListWeights(first))) saved.Add(name, tensor);
  WeightReader reader(saved);
  LoadWeights(ListWeights(second), reader);
  UseChannelsLast(ListWeights(second));
  auto resumed = make(second);
  resumed->LoadState(reader);
  reader.Finish();
  Steps(second, *resumed, 3, 5);
  for (size_t i = 0; i < ListWeights(whole).size(); ++i) {
    EXPECT_TRUE(at::equal(*ListWeights(whole)[i].tensor, *ListWeights(second)[i].tensor));
  }
}

TEST(Optimizer, ResumeIsExact) {
  ExpectResumeIsExact(
      [](Toy& toy) { return MakeSgd(ListWeights(toy), {.momentum = 0.9, .weight_decay = 1e-2}, ToyRules()); });
  ExpectResumeIsExact([](Toy& toy) { return MakeAdamW(ListWeights(toy), {}, ToyRules()); });
}

TEST(ClipGradients, FollowsPyTorch) {
  Toy toy;
  Start(toy);
  for (const WeightRef& ref : ListWeights(toy))
    ref.tensor->mutable_grad() = Torch().At("gradient.0." + ref.name).clone();
  EXPECT_NEAR(ClipGradients(ListWeights(toy), 1.5), Torch().At("clip.norm").item<double>(), 1e-5);
  for (const WeightRef& ref : ListWeights(toy))
    EXPECT_CLOSE(ref.tensor->grad(), Torch().At("clip." + ref.name), 1e-6) << ref.name;
  EXPECT_NEAR(ClipGradients(ListWeights(toy), 0), 1.5, 1e-5);
}

}  // namespace
}  // namespace genview
