#include "genview/eval/probe_training.h"

#include "tests/golden/compare.h"

namespace genview {
namespace {

constexpr int64_t kRows = 40, kWidth = 7, kClasses = 3;

struct Task {
  Tensor features = NormalTensor(Seed(1), {kRows, kWidth}) * 2 + 1;
  Tensor labels = at::arange(kRows, at::kLong).remainder(kClasses);
};

struct Trained {
  Tensor weight, bias;
};

// Moves one tensor along its slope, as the rule's definition has it, in fp64.
void Move(Tensor& w, Tensor& v, Tensor g, const ProbeConfig& c, double rate, bool scaled) {
  const double decay = c.optimizer == ProbeOptimizer::kSgd || scaled ? c.weight_decay : 0;
  const double length = w.norm().item<double>(), slope = g.norm().item<double>();
  const double trust =
      scaled && length > 0 && slope > 0 ? 1e-3 * length / (slope + c.weight_decay * length + 1e-8) : 1.0;
  g = (g + decay * w) * trust;
  if (c.optimizer == ProbeOptimizer::kLarsMmpretrain) {  // the rate is in the momentum
    v = c.momentum * v + rate * g;
    w = w - v;
    return;
  }
  v = c.momentum * v + g;
  w = w - rate * (c.nesterov ? g + c.momentum * v : v);
}

// On whole-set batches.
Trained Reference(const Task& task, const Probe& start, const ProbeConfig& c, int64_t steps) {
  const Tensor x = task.features.to(at::kDouble), one_hot = at::one_hot(task.labels, kClasses).to(at::kDouble);
  Tensor weight = start.weight[0].to(at::kDouble), bias = start.bias[0].to(at::kDouble);
  Tensor weight_velocity = at::zeros_like(weight), bias_velocity = at::zeros_like(bias);
  const bool lars = c.optimizer != ProbeOptimizer::kSgd;
  const bool biases = lars && c.optimizer != ProbeOptimizer::kLars;  // are scaled, too
  for (int64_t step = 0; step < steps; ++step) {
    const double rate = c.rates[0] * ProbeFactor(c, step, 1);
    const Tensor slope = ((at::matmul(x, weight) + bias).softmax(1) - one_hot) / static_cast<double>(kRows);
    Move(weight, weight_velocity, at::matmul(x.t(), slope), c, rate, lars);
    Move(bias, bias_velocity, slope.sum(at::IntArrayRef{0}, /*keepdim=*/true), c, rate, biases);
  }
  return {weight, bias};
}

ProbeConfig ConfigOf(ProbeOptimizer optimizer, bool nesterov) {
  ProbeConfig config{.rates = {0.3}, .epochs = 6, .batch = kRows, .weight_decay = 1e-2, .standardise = false};
  config.optimizer = optimizer;
  config.nesterov = nesterov;
  if (optimizer != ProbeOptimizer::kSgd) config.rates = {20};
  return config;
}

TEST(ProbeTraining, FollowsTheRules) {
  Progress silent;
  const Task task;
  for (const ProbeConfig& config :
       {ConfigOf(ProbeOptimizer::kSgd, false), ConfigOf(ProbeOptimizer::kSgd, true),
        ConfigOf(ProbeOptimizer::kLarsMmpretrain, false), ConfigOf(ProbeOptimizer::kLarc, false)}) {
    const Probe start = MakeProbe(task.features, kClasses, config, Seed(0));
    Probe probe = start;
    TrainProbe(probe, task.features, task.labels, config, Seed(0), silent);
    const Trained wanted = Reference(task, start, config, config.epochs);
    EXPECT_CLOSE(probe.weight[0], wanted.weight, 1e-4) << EnumName(config.optimizer) << " " << config.nesterov;
    EXPECT_CLOSE(probe.bias[0], wanted.bias, 1e-4) << EnumName(config.optimizer) << " " << config.nesterov;
  }
}

// The same numbers as those of SGD on rows that are all there.
TEST(ProbeTraining, FollowsPyTorch) {
  const WeightMap golden = Golden("eval/linear");
  const Tensor &features = golden.At("features"), &labels = golden.At("labels");
  const Tensor rates = golden.At("rates").to(at::kDouble);
  for (const bool standardise : {false, true}) {
    ProbeConfig config{.epochs = 12, .batch = 100, .weight_decay = 1e-3, .standardise = standardise};
    config.rates = {rates.data_ptr<double>(), rates.data_ptr<double>() + rates.numel()};
    Probe probe = MakeProbe(features, 6, config, Seed(0));
    probe.weight.copy_(golden.At("start"));
    ProbeTraining training(probe, config);
    for (int64_t step = 0; step < 12; ++step) {
      const Tensor losses = training.Step(features, labels, ProbeFactor(config, step, 1));
      ASSERT_EQ(losses.sizes(), std::vector<int64_t>{3});
    }
    probe = training.Trained();
    const std::string name = standardise ? "standard" : "raw";
    EXPECT_CLOSE(probe.weight, golden.At(name + ".weight"), 1e-4);
    EXPECT_CLOSE(probe.bias, golden.At(name + ".bias"), 1e-4);
  }
}

TEST(ProbeTraining, OneRateAloneOrAmongOthersGivesTheSameBytes) {
  Progress silent;
  const Task task;
  for (const auto& [optimizer, name] : EnumNames<ProbeOptimizer>::kNames) {
    ProbeConfig alone = ConfigOf(optimizer, optimizer == ProbeOptimizer::kSgd), both = alone;
    alone.batch = both.batch = 16;
    both.rates = {3, alone.rates[0], 3e38};  // the last one leaves the range of numbers
    Probe a = MakeProbe(task.features, kClasses, alone, Seed(0)), b = MakeProbe(task.features, kClasses, both, Seed(0));
    TrainProbe(a, task.features, task.labels, alone, Seed(0), silent);
    TrainProbe(b, task.features, task.labels, both, Seed(0), silent);
    EXPECT_TRUE(at::equal(a.weight[0], b.weight[1])) << name;
    EXPECT_TRUE(at::equal(a.bias[0], b.bias[1])) << name;
  }
}

TEST(ProbeTraining, StateComesBack) {
  const Task task;
  for (const ProbeOptimizer optimizer : {ProbeOptimizer::kSgd, ProbeOptimizer::kLarsMmpretrain}) {
    const ProbeConfig config = ConfigOf(optimizer, false);
    const Probe start = MakeProbe(task.features, kClasses, config, Seed(0));
    const auto steps = [&](ProbeTraining& training, int64_t from, int64_t to) {
      for (int64_t step = from; step < to; ++step)
        training.Step(task.features, task.labels, ProbeFactor(config, step, 1));
    };
    ProbeTraining whole(start, config), first(start, config), second(start, config);
    steps(whole, 0, 5);
    steps(first, 0, 3);
    WeightMap saved("memory");
    for (const auto& [name, tensor] : first.State()) saved.Add(name, tensor.clone());
    WeightReader reader(saved);
    second.LoadState(reader);
    reader.Finish();
    steps(second, 3, 5);
    EXPECT_TRUE(at::equal(whole.Trained().weight, second.Trained().weight));
    EXPECT_TRUE(at::equal(whole.Trained().bias, second.Trained().bias));
  }
}

TEST(ProbeFactor, FallsAsAsked) {
  const auto factors = [](ScheduleKind kind, bool per_epoch) {
    ProbeConfig config{.epochs = 5};
    config.schedule = kind;
    config.per_epoch = per_epoch;
    std::vector<double> all;
    for (int64_t step = 0; step < 10; ++step) all.push_back(ProbeFactor(config, step, 2));
    return all;
  };
  const double t = 0.1;
  EXPECT_EQ(factors(ScheduleKind::kConstant, false), std::vector<double>(10, 1.0));
  EXPECT_EQ(factors(ScheduleKind::kStep, false), (std::vector<double>{1, 1, 1, 1, 1, 1, t, t, t * t, t * t}));
  EXPECT_EQ(factors(ScheduleKind::kStep, true), factors(ScheduleKind::kStep, false));
  const auto cosine = factors(ScheduleKind::kCosine, false), held = factors(ScheduleKind::kCosine, true);
  EXPECT_EQ(cosine[0], 1);
  EXPECT_NEAR(cosine[5], 0.5, 1e-12);
  for (size_t step = 0; step < 10; ++step) EXPECT_EQ(held[step], cosine[step - step % 2]);
}

// MoCo's: 100 epochs, a tenth from the 60th and a hundredth from the 80th on.
TEST(ProbeFactor, StepsAtWholeEpochs) {
  ProbeConfig config{.epochs = 100};
  config.schedule = ScheduleKind::kStep;
  for (const int64_t per_epoch : {1, 7, 5005}) {
    EXPECT_EQ(ProbeFactor(config, 60 * per_epoch - 1, per_epoch), 1);
    EXPECT_EQ(ProbeFactor(config, 60 * per_epoch, per_epoch), 0.1);
    EXPECT_EQ(ProbeFactor(config, 80 * per_epoch - 1, per_epoch), 0.1);
    EXPECT_NEAR(ProbeFactor(config, 80 * per_epoch, per_epoch), 0.01, 1e-15);
  }
}

}  // namespace
}  // namespace genview
