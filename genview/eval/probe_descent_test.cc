#include "genview/eval/probe_descent.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace genview {
namespace {

struct Case {
  int64_t rows, features, classes, rates, batch;
};
constexpr Case kCases[] = {
    {90, 40, 3, 2, 32}, {301, 515, 7, 3, 101}, {20, 1, 2, 1, 20}};  // odd numbers, more than a block of features

DescentPlan PlanOf(const Case& c) {
  const Tensor features = NormalTensor(Seed(1), {c.rows, c.features}) * 3 + 2;
  return {.features = features,
          .mean = features.mean(at::IntArrayRef{0}),
          .scale = 1 / features.std(),
          .labels = at::arange(c.rows, at::kLong).remainder(c.classes),
          .classes = c.classes,
          .weight = NormalTensor(Seed(2), {c.features, c.rates * c.classes}) * 0.1,
          .bias = at::zeros({c.rates * c.classes}),
          .batch = c.batch,
          .momentum = 0.9,
          .weight_decay = 1e-3};
}

struct Trained {
  Tensor weight, bias;
};

std::vector<int64_t> Places(const Case& c) {
  std::vector<int64_t> places;
  for (int64_t i = 0; i < c.rows; ++i) places.push_back((i * 7 + 3) % c.rows);
  return places;
}

Trained Train(const Case& c, DescentPlan plan, bool split) {
  plan.scale = plan.scale.expand({c.features});
  const auto descent = MakeProbeDescent(plan, split);
  const Tensor rates = at::linspace(0.01, 0.2, c.rates * c.classes);
  const auto places = Places(c);
  for (int64_t from = 0; from < c.rows; from += c.batch)
    descent->Step(places.data() + from, std::min(c.batch, c.rows - from), rates.const_data_ptr<float>());
  return {descent->weight(), descent->bias()};
}

// The same in fp64, one operation after the other.
Trained Reference(const Case& c, const DescentPlan& plan) {
  const auto exact = [](const Tensor& x) { return x.to(at::kDouble); };
  const Tensor x = (exact(plan.features) - exact(plan.mean)) * exact(plan.scale),
               rates = exact(at::linspace(0.01, 0.2, c.rates * c.classes));
  Tensor weight = exact(plan.weight), bias = exact(plan.bias), weight_velocity = at::zeros_like(weight),
         bias_velocity = at::zeros_like(bias);
  const auto places = Places(c);
  for (int64_t from = 0; from < c.rows; from += c.batch) {
    const int64_t count = std::min(c.batch, c.rows - from);
    const Tensor own =
        at::tensor(std::vector<int64_t>(places.begin() + from, places.begin() + from + count), at::kLong);
    const Tensor rows = x.index_select(0, own),
                 one_hot = at::one_hot(plan.labels.index_select(0, own), c.classes).to(at::kDouble).unsqueeze(1);
    const Tensor slope =
        ((at::matmul(rows, weight) + bias).view({count, c.rates, c.classes}).softmax(2) - one_hot).flatten(1) / count;
    weight_velocity = plan.momentum * weight_velocity + at::matmul(rows.t(), slope) + plan.weight_decay * weight;
    bias_velocity = plan.momentum * bias_velocity + slope.sum(0) + plan.weight_decay * bias;
    weight = weight - rates * weight_velocity;
    bias = bias - rates * bias_velocity;
  }
  return {weight, bias};
}

TEST(ProbeDescent, FollowsTheFormula) {
  for (const Case& c : kCases) {
    for (const bool split : {false, true}) {
      const DescentPlan plan = PlanOf(c);
      const Trained got = Train(c, plan, split), wanted = Reference(c, plan);
      const auto close = [&](const Tensor& a, const Tensor& b) {
        const double largest = std::max(0.01, b.abs().max().item<double>());
        EXPECT_LE((a.to(at::kDouble) - b).abs().max().item<double>(), (split ? 4e-5 : 4e-6) * largest)
            << c.features << " " << split;
      };
      close(got.weight, wanted.weight);
      close(got.bias, wanted.bias);
    }
  }
}

TEST(ProbeDescent, ThreadsChangeNoBit) {
  const int before = at::get_num_threads();
  for (const bool split : {false, true}) {
    std::vector<Trained> all;
    for (const int threads : {1, 2, 5}) {
      at::set_num_threads(threads);
      all.push_back(Train(kCases[1], PlanOf(kCases[1]), split));
    }
    for (const Trained& other : all) {
      EXPECT_TRUE(at::equal(other.weight, all[0].weight)) << split;
      EXPECT_TRUE(at::equal(other.bias, all[0].bias)) << split;
    }
  }
  at::set_num_threads(before);
}

}  // namespace
}  // namespace genview
