#include "genview/ssl/losses.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

namespace genview {
namespace {

Tensor Rows(uint64_t seed, int64_t n, int64_t d) { return NormalTensor(Seed(seed), {n, d}).to(at::kDouble); }
Tensor Queue(uint64_t seed, int64_t d, int64_t k) {
  const Tensor queue = Rows(seed, d, k);
  return queue / queue.norm(2, {0}, true);
}

// The formulas of the papers again, as loops.
double Dot(const Tensor& a, const Tensor& b) {
  double sum = 0, aa = 0, bb = 0;
  for (int64_t i = 0; i < a.size(0); ++i) {
    sum += a[i].item<double>() * b[i].item<double>();
    aa += a[i].item<double>() * a[i].item<double>();
    bb += b[i].item<double>() * b[i].item<double>();
  }
  return sum / std::sqrt(aa * bb);
}

TEST(InfoNce, FollowsTheFormula) {
  const Tensor q = Rows(1, 3, 4), k = Rows(2, 3, 4), queue = Queue(3, 4, 5);
  const Tensor loss = InfoNce(q, k, queue, 0.2);
  for (int64_t i = 0; i < 3; ++i) {
    const double positive = std::exp(Dot(q[i], k[i]) / 0.2);
    double all = positive;
    for (int64_t j = 0; j < 5; ++j) all += std::exp(Dot(q[i], queue.select(1, j)) / 0.2);
    EXPECT_NEAR(loss[i].item<double>(), -std::log(positive / all), 1e-10);
  }
}

TEST(NtXent, FollowsTheFormula) {
  const Tensor z1 = Rows(1, 3, 4), z2 = Rows(2, 3, 4), z = at::cat({z1, z2});
  const Tensor loss = NtXent(z1, z2, 0.3);
  for (int64_t i = 0; i < 3; ++i) {
    double both = 0;
    for (const int64_t anchor : {i, i + 3}) {
      double all = 0;
      for (int64_t j = 0; j < 6; ++j) all += j == anchor ? 0 : std::exp(Dot(z[anchor], z[j]) / 0.3);
      both -= std::log(std::exp(Dot(z1[i], z2[i]) / 0.3) / all);
    }
    EXPECT_NEAR(loss[i].item<double>(), both / 2, 1e-10);
  }
}

TEST(MultiPositiveLoss, FollowsTheFormula) {
  constexpr int64_t kViews = 3, kPictures = 4;
  const Tensor z = NormalTensor(Seed(5), {kViews, kPictures, 6}).to(at::kDouble), rows = z.flatten(0, 1);
  const Tensor loss = MultiPositiveLoss(z, 0.3);
  ASSERT_EQ(loss.sizes(), (std::vector<int64_t>{kPictures}));
  for (int64_t i = 0; i < kPictures; ++i) {
    double sum = 0;
    for (int64_t u = 0; u < kViews; ++u) {
      const int64_t anchor = u * kPictures + i;
      double all = 0;
      for (int64_t j = 0; j < kViews * kPictures; ++j)
        all += j == anchor ? 0 : std::exp(Dot(rows[anchor], rows[j]) / 0.3);
      for (int64_t v = 0; v < kViews; ++v)
        sum += v == u ? 0 : -std::log(std::exp(Dot(rows[anchor], z[v][i]) / 0.3) / all) / (kViews - 1);
    }
    EXPECT_NEAR(loss[i].item<double>(), sum / kViews, 1e-10);
  }
}

TEST(MultiPositiveLoss, OfTwoViewsIsNtXent) {
  const Tensor z1 = Rows(1, 3, 4), z2 = Rows(2, 3, 4);
  EXPECT_TRUE(at::allclose(MultiPositiveLoss(at::stack({z1, z2}), 0.3), NtXent(z1, z2, 0.3), 1e-10));
}

TEST(NegativeCosine, FollowsTheFormula) {
  const Tensor p = Rows(1, 3, 4), z = Rows(2, 3, 4);
  for (int64_t i = 0; i < 3; ++i) EXPECT_NEAR(NegativeCosine(p, z)[i].item<double>(), -Dot(p[i], z[i]), 1e-12);
}

TEST(SinkhornAssignment, FollowsTheLoops) {
  const int64_t b = 5, k = 4;
  const Tensor scores = Rows(1, b, k) * 0.1;
  for (const int64_t iterations : {0, 1, 3}) {
    std::vector<std::vector<double>> q(k, std::vector<double>(b));
    double total = 0;
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t j = 0; j < b; ++j) total += q[i][j] = std::exp(scores[j][i].item<double>() / 0.05);
    }
    for (auto& row : q) {
      for (double& value : row) value /= total;
    }
    for (int64_t round = 0; round < iterations; ++round) {
      for (auto& row : q) {
        double sum = 0;
        for (const double value : row) sum += value;
        for (double& value : row) value /= sum * static_cast<double>(k);
      }
      for (int64_t j = 0; j < b; ++j) {
        double sum = 0;
        for (const auto& row : q) sum += row[j];
        for (auto& row : q) row[j] /= sum * static_cast<double>(b);
      }
    }
    const Tensor shares = SinkhornAssignment(scores, 0.05, iterations);
    for (int64_t j = 0; j < b; ++j) {
      for (int64_t i = 0; i < k; ++i) EXPECT_NEAR(shares[j][i].item<double>(), q[i][j] * static_cast<double>(b), 1e-10);
    }
  }
}

TEST(SinkhornAssignment, ScoresOfAnySizeStayFinite) {
  for (const double scale : {0.0, 1.0, 1e3, 1e6}) {
    const Tensor shares = SinkhornAssignment((Rows(1, 16, 8) * scale).to(at::kFloat), 0.05, 3);
    EXPECT_TRUE(at::isfinite(shares).all().item<bool>()) << scale;
    EXPECT_TRUE(at::allclose(shares.sum(1), at::ones({16}))) << scale;
  }
}

TEST(SwappedPrediction, FollowsTheFormula) {
  const Tensor a = Rows(1, 3, 4) * 0.3, b = Rows(2, 3, 4) * 0.3;
  const Tensor loss = SwappedPrediction(a, b, 0.1, 0.05, 3);
  const Tensor qa = SinkhornAssignment(a, 0.05, 3), qb = SinkhornAssignment(b, 0.05, 3);
  const auto cross_entropy = [](const Tensor& q, const Tensor& scores) {
    double all = 0, sum = 0;
    for (int64_t j = 0; j < 4; ++j) all += std::exp(scores[j].item<double>() / 0.1);
    for (int64_t j = 0; j < 4; ++j) sum -= q[j].item<double>() * (scores[j].item<double>() / 0.1 - std::log(all));
    return sum;
  };
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(loss[i].item<double>(), 0.5 * (cross_entropy(qa[i], b[i]) + cross_entropy(qb[i], a[i])), 1e-10);
  }
}

TEST(SwappedPrediction, AssignmentsPassNoGradient) {
  const Tensor a = Rows(1, 3, 4).set_requires_grad(true), b = Rows(2, 3, 4);
  AssignmentCrossEntropy(SinkhornAssignment(b, 0.05, 3), a, 0.1).sum().backward();
  const Tensor direct = a.grad().clone();
  a.mutable_grad() = Tensor();
  (2 * SwappedPrediction(a, b, 0.1, 0.05, 3)).sum().backward();
  EXPECT_TRUE(at::allclose(a.grad(), direct, 1e-12, 1e-12));
}

TEST(MocoV3Loss, FollowsTheFormula) {
  const Tensor q1 = Rows(1, 3, 4), q2 = Rows(2, 3, 4), k1 = Rows(3, 3, 4), k2 = Rows(4, 3, 4);
  const Tensor loss = MocoV3Loss(q1, q2, k1, k2, 0.2);
  const auto cross_entropy = [](const Tensor& q, const Tensor& k, int64_t i) {
    double all = 0;
    for (int64_t j = 0; j < 3; ++j) all += std::exp(Dot(q[i], k[j]) / 0.2);
    return -std::log(std::exp(Dot(q[i], k[i]) / 0.2) / all);
  };
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(loss[i].item<double>(), 0.4 * (cross_entropy(q1, k2, i) + cross_entropy(q2, k1, i)), 1e-10);
  }
}

// d(sum of weight * loss) / dx against central differences, element by element.
void ExpectGradient(const std::function<Tensor(const Tensor&)>& loss, const Tensor& at) {
  const Tensor weight = at::linspace(0.5, 1.5, at.size(0), at::kDouble);
  const Tensor leaf = at.clone().set_requires_grad(true);
  (loss(leaf) * weight).sum().backward();
  for (int64_t i = 0; i < at.numel(); ++i) {
    Tensor plus = at.clone(), minus = at.clone();
    plus.view(-1)[i] += 1e-6;
    minus.view(-1)[i] -= 1e-6;
    const double slope = ((loss(plus) - loss(minus)) * weight).sum().item<double>() / 2e-6;
    EXPECT_NEAR(leaf.grad().view(-1)[i].item<double>(), slope, 1e-7) << i;
  }
}

TEST(Losses, GradientsMatchFiniteDifferences) {
  const Tensor a = Rows(1, 3, 4), b = Rows(2, 3, 4), queue = Queue(3, 4, 5);
  ExpectGradient([&](const Tensor& x) { return InfoNce(x, b, queue, 0.2); }, a);
  ExpectGradient([&](const Tensor& x) { return InfoNce(a, x, queue, 0.2); }, b);
  ExpectGradient([&](const Tensor& x) { return NtXent(x, b, 0.1); }, a);
  ExpectGradient([&](const Tensor& x) { return NtXent(a, x, 0.1); }, b);
  ExpectGradient([&](const Tensor& x) { return NegativeCosine(x, b); }, a);
  ExpectGradient([&](const Tensor& x) { return NegativeCosine(a, x); }, b);
  const Tensor shares = SinkhornAssignment(b, 0.05, 3);
  ExpectGradient([&](const Tensor& x) { return AssignmentCrossEntropy(shares, x, 0.3); }, a);
  ExpectGradient([&](const Tensor& x) { return MocoV3Loss(x, a, b, a, 0.2); }, a);
  ExpectGradient([&](const Tensor& x) { return MocoV3Loss(a, x, b, a, 0.2); }, b);
  ExpectGradient([&](const Tensor& x) { return MocoV3Loss(a, b, x, a, 0.2); }, b);
}

TEST(Losses, HalfPrecisionInputsAreComputedInFull) {
  const Tensor a = Rows(1, 4, 8).to(at::kBFloat16), b = Rows(2, 4, 8).to(at::kBFloat16);
  EXPECT_EQ(NtXent(a, b, 0.1).scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(NtXent(a, b, 0.1), NtXent(a.to(at::kFloat), b.to(at::kFloat), 0.1)));
  EXPECT_TRUE(at::equal(NegativeCosine(a, b), NegativeCosine(a.to(at::kFloat), b.to(at::kFloat))));
}

TEST(Losses, ExtremeValuesStayFinite) {
  const Tensor one = at::ones({2, 4}), queue = at::full({4, 3}, 0.5);
  EXPECT_NEAR(InfoNce(one, one, queue, 1e-3)[0].item<double>(), std::log(4.0), 1e-4);  // all equal: one of four
  EXPECT_TRUE(at::isfinite(InfoNce(at::zeros({2, 4}), one, queue, 0.1)).all().item<bool>());
  EXPECT_TRUE(at::isfinite(NtXent(at::zeros({2, 4}), one, 0.01)).all().item<bool>());
  EXPECT_TRUE(at::isfinite(NegativeCosine(at::zeros({2, 4}), one)).all().item<bool>());
}

// Pairs that are told well: what is left is far below the logits.
TEST(Losses, SmallLossesKeepTheirDigitsInSinglePrecision) {
  const Tensor a = Rows(1, 64, 128), b = a + 0.2 * Rows(2, 64, 128), queue = Queue(3, 128, 256);
  const auto expect = [&](const char* name, const std::function<Tensor(const Tensor&, const Tensor&)>& loss) {
    const auto with_gradient = [&](at::ScalarType type) {
      const Tensor x = a.to(type).clone().requires_grad_();
      const Tensor value = loss(x, b.to(type));
      value.mean().backward();
      return std::pair(value.detach().to(at::kDouble), x.grad().to(at::kDouble));
    };
    const auto [value, gradient] = with_gradient(at::kFloat);
    const auto [exact, slope] = with_gradient(at::kDouble);
    EXPECT_LT(exact.mean().item<double>(), 0.01) << name;
    EXPECT_LT(((value - exact) / exact).abs().max().item<double>(), 1e-4) << name;
    EXPECT_LT((gradient - slope).norm().item<double>(), 1e-4 * slope.norm().item<double>()) << name;
  };
  expect("info_nce", [&](const Tensor& x, const Tensor& y) { return InfoNce(x, y, queue.to(x.scalar_type()), 0.07); });
  expect("nt_xent", [](const Tensor& x, const Tensor& y) { return NtXent(x, y, 0.07); });
  expect("moco_v3", [](const Tensor& x, const Tensor& y) { return MocoV3Loss(x, y, y, x, 0.07); });
  expect("multi_positive", [](const Tensor& x, const Tensor& y) { return MultiPositiveLoss(at::stack({x, y}), 0.07); });
}

TEST(Losses, APairAloneHasNothingToLearn) {
  const auto expect = [](const std::function<Tensor(const Tensor&)>& loss) {
    const Tensor x = Rows(1, 1, 4).requires_grad_();
    const Tensor value = loss(x);
    EXPECT_EQ(value.item<double>(), 0);
    value.backward();
    EXPECT_TRUE(at::equal(x.grad(), at::zeros_like(x)));
  };
  const Tensor other = Rows(2, 1, 4);
  expect([&](const Tensor& x) { return NtXent(x, other, 0.1).sum(); });
  expect([&](const Tensor& x) { return MocoV3Loss(x, other, other, other, 0.1).sum(); });
  expect([&](const Tensor& x) { return InfoNce(x, other, at::empty({4, 0}, at::kDouble), 0.1).sum(); });
}

TEST(Losses, WrongShapesAreNamed) {
  EXPECT_THROW(InfoNce(at::ones({2, 4}), at::ones({2, 5}), at::ones({4, 3}), 1), std::logic_error);
  EXPECT_THROW(InfoNce(at::ones({2, 4}), at::ones({2, 4}), at::ones({3, 4}), 1), std::logic_error);
  EXPECT_THROW(NtXent(at::ones({2, 4}), at::ones({3, 4}), 1), std::logic_error);
  EXPECT_THROW(SwappedPrediction(at::ones({2, 4}), at::ones({2, 5}), 1, 1, 3), std::logic_error);
  EXPECT_THROW(MocoV3Loss(at::ones({2, 4}), at::ones({2, 4}), at::ones({3, 4}), at::ones({2, 4}), 1), std::logic_error);
}

}  // namespace
}  // namespace genview
