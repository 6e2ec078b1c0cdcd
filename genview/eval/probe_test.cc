#include "genview/eval/probe.h"

#include "genview/eval/knn_votes.h"
#include "tests/golden/compare.h"

namespace genview {
namespace {

std::vector<double> Rates(const WeightMap& golden) {
  const Tensor rates = golden.At("rates").to(at::kDouble);
  return {rates.data_ptr<double>(), rates.data_ptr<double>() + rates.numel()};
}

TEST(Probe, FollowsPyTorch) {
  Progress silent;
  const WeightMap golden = Golden("eval/linear");
  const Tensor &features = golden.At("features"), &labels = golden.At("labels");
  for (const bool standardise : {false, true}) {
    ProbeConfig config{.epochs = 12, .batch = 100, .weight_decay = 1e-3, .standardise = standardise};
    config.rates = Rates(golden);
    Probe probe = MakeProbe(features, 6, config, Seed(0));
    probe.weight.copy_(golden.At("start"));
    TrainProbe(probe, features, labels, config, Seed(0), silent);
    const std::string name = standardise ? "standard" : "raw";
    EXPECT_CLOSE(probe.weight, golden.At(name + ".weight"), 1e-4);
    EXPECT_CLOSE(probe.bias, golden.At(name + ".bias"), 1e-4);
    const Tensor scores = ProbeScores(probe, features);
    EXPECT_EQ(scores.sizes(), (std::vector<int64_t>{3, 100, 6}));
  }
}

TEST(Probe, SeparatesWhatCanBeSeparated) {
  Progress silent;
  const int64_t n = 200;
  const Tensor labels = at::arange(n, at::kLong).remainder(4);
  const Tensor features = at::one_hot(labels, 4).to(at::kFloat) * 3 + NormalTensor(Seed(1), {n, 4}) * 0.3;
  const ProbeConfig config{.rates = {0.001, 0.1}, .epochs = 20, .batch = 32};
  Probe probe = MakeProbe(features, 4, config, Seed(0));
  TrainProbe(probe, features, labels, config, Seed(0), silent);
  const Tensor scores = ProbeScores(probe, features);
  EXPECT_EQ(CountHits(scores[1], labels).top1, n);
  const auto loss = [&](int64_t rate) { return at::cross_entropy_loss(scores[rate], labels).item<double>(); };
  EXPECT_GT(loss(0), 2 * loss(1));  // the small rate has not come as far
}

TEST(Probe, OneRateAloneOrAmongOthersIsTheSame) {
  Progress silent;
  const Tensor labels = at::arange(50, at::kLong).remainder(3), features = NormalTensor(Seed(1), {50, 5});
  const ProbeConfig both{.rates = {0.01, 0.5}, .epochs = 4, .batch = 16},
      alone{.rates = {0.5}, .epochs = 4, .batch = 16};
  Probe a = MakeProbe(features, 3, both, Seed(0)), b = MakeProbe(features, 3, alone, Seed(0));
  TrainProbe(a, features, labels, both, Seed(0), silent);
  TrainProbe(b, features, labels, alone, Seed(0), silent);
  EXPECT_CLOSE(a.weight[1], b.weight[0], 1e-5);
}

TEST(Probe, IsShownStepByStepAndStopsBetweenThem) {
  struct StopsAfter : Progress {
    void Begin(std::string_view, int64_t of, std::string_view) override { total = of; }
    void Update(int64_t done, double, std::string_view) override { latest = done; }
    bool Stopped() const override { return latest >= most; }
    int64_t total = 0, latest = 0, most = 5;
  };
  const Tensor labels = at::arange(50, at::kLong).remainder(3), features = NormalTensor(Seed(1), {50, 5});
  for (const bool nesterov : {false, true}) {
    ProbeConfig config{.epochs = 4, .batch = 16};
    config.nesterov = nesterov;
    Probe probe = MakeProbe(features, 3, config, Seed(0));
    StopsAfter stopped, whole;
    whole.most = 17;
    EXPECT_THROW(TrainProbe(probe, features, labels, config, Seed(0), stopped), Interrupted);
    EXPECT_EQ(stopped.latest, 5);
    TrainProbe(probe, features, labels, config, Seed(0), whole);
    EXPECT_EQ(whole.total, 16);
    EXPECT_EQ(whole.latest, 16);
  }
}

TEST(Probe, ConstantFeaturesDoNoHarm) {
  Progress silent;
  const Tensor labels = at::arange(20, at::kLong).remainder(2), features = at::ones({20, 3});
  const ProbeConfig config{.epochs = 3, .batch = 8};
  Probe probe = MakeProbe(features, 2, config, Seed(0));
  TrainProbe(probe, features, labels, config, Seed(0), silent);
  EXPECT_TRUE(at::isfinite(ProbeScores(probe, features)).all().item<bool>());
}

TEST(Probe, FeaturesThatWereConstantSayNothingElsewhere) {
  Progress silent;
  const Tensor labels = at::arange(20, at::kLong).remainder(2);
  Tensor features = NormalTensor(Seed(1), {20, 3});
  features.select(1, 2).zero_();
  const ProbeConfig config{.epochs = 3, .batch = 8};
  Probe probe = MakeProbe(features, 2, config, Seed(0));
  TrainProbe(probe, features, labels, config, Seed(0), silent);
  Tensor awake = features.clone();
  awake.select(1, 2).fill_(0.01);
  EXPECT_TRUE(at::equal(ProbeScores(probe, awake), ProbeScores(probe, features)));
}

}  // namespace
}  // namespace genview
