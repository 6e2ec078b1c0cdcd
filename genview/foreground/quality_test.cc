#include "genview/foreground/quality.h"

#include <gtest/gtest.h>

#include <cmath>

#include <c10/core/GradMode.h>

#include "genview/tensor/device.h"

namespace genview {
namespace {

// One pair on a grid of 2 x 2 with 3 channels, worked out by hand in the reference.
struct Worked {
  Tensor v = at::tensor({0.6, 0.0, 0.8}).to(at::kFloat);
  Tensor t1 = at::tensor({1., 0., 2., 0., 1., 1., 2., 2., 0., 1., 1., 1.}).to(at::kFloat).view({1, 4, 3});
  Tensor t2 = at::tensor({0., 1., 2., 1., 1., 1., 2., 0., 1., 1., 2., 0.}).to(at::kFloat).view({1, 4, 3});
};

TEST(ForegroundMap, IsTheProjectionStretchedToOne) {
  const Worked w;
  const Tensor features = w.t1.transpose(1, 2).reshape({1, 3, 2, 2});
  const Tensor map = ForegroundMap(features, w.v);
  EXPECT_EQ(map.sizes(), (at::IntArrayRef{1, 2, 2}));
  // s = (2.2, .8, 1.2, 1.4)
  const double expected[] = {1, 0, 0.4 / 1.4, 0.6 / 1.4};
  for (int64_t i = 0; i < 4; ++i) EXPECT_NEAR(map.flatten()[i].item<double>(), expected[i], 1e-5);
}

TEST(ForegroundMap, EqualFeaturesGiveNothing) {
  EXPECT_EQ(ForegroundMap(at::ones({2, 3, 4, 4}), at::ones({3})).abs().max().item<float>(), 0);
}

TEST(ComparePairs, GivesTheWorkedValues) {
  const Worked w;
  const PairSimilarity s = ComparePairs(w.t1, w.t2, w.v);
  EXPECT_NEAR(s.foreground.item<double>(), 0.9998007, 1e-6);
  EXPECT_NEAR(s.background.item<double>(), 0.9907430, 1e-6);
  EXPECT_NEAR(std::exp((s.foreground - s.background).item<double>()), 1.0090989, 1e-6);
}

TEST(QualityWeights, GivesTheWorkedValues) {
  const PairSimilarity s{at::tensor({.9, .8, .3, .5}).to(at::kFloat), at::tensor({.2, .7, .6, .5}).to(at::kFloat)};
  const Tensor weights = QualityWeights(s, 1);
  const double expected[] = {1.657498, 0.909654, 0.609759, 0.823089};
  for (int64_t i = 0; i < 4; ++i) EXPECT_NEAR(weights[i].item<double>(), expected[i], 1e-6);
  EXPECT_NEAR(weights.mean().item<double>(), 1, 1e-6);
  EXPECT_TRUE(at::allclose(QualityWeights(s, 0), at::ones({4})));
}

TEST(QualityWeights, PairsBelowTheFloorLeaveTheirShareToTheOthers) {
  const PairSimilarity s{at::tensor({.9, .8, .3, .5}).to(at::kFloat),
                         at::tensor({.2, .7, .6, .5}).to(at::kFloat)};  // q: .7, .1, -.3, 0
  EXPECT_TRUE(at::equal(QualityWeights(s, 1, kNoFloor), QualityWeights(s, 1)));
  EXPECT_TRUE(at::allclose(QualityWeights(s, 1, -0.4), QualityWeights(s, 1)));
  const Tensor some = QualityWeights(s, 1, 0.05);
  const double high = std::exp(0.7), low = std::exp(0.1);
  EXPECT_TRUE(
      at::allclose(some, at::tensor({4 * high / (high + low), 4 * low / (high + low), 0.0, 0.0}).to(at::kFloat)));
  EXPECT_NEAR(some.mean().item<double>(), 1, 1e-6);
  EXPECT_TRUE(at::equal(QualityWeights(s, 0, 0.05), at::tensor({2.0, 2.0, 0.0, 0.0}).to(at::kFloat)));  // a floor alone
  EXPECT_TRUE(at::equal(QualityWeights(s, 1, 1.5), at::zeros({4})));
}

TEST(QualityWeights, OfAKindAreSharedAmongItAlone) {
  const PairSimilarity s{at::tensor({.9, .8, .3, .5, .2}).to(at::kFloat),
                         at::tensor({.2, .7, .6, .5, .1}).to(at::kFloat)};  // q: .7, .1, -.3, 0, .1
  const Tensor kind = at::tensor({1, 0, 1, 0, 0}) > 0;
  const Tensor weights = QualityWeightsByKind(s, kind, 2);
  const double a = std::exp(1.4), b = std::exp(-0.6), c = std::exp(0.2), d = 1;
  const auto expected = [](std::initializer_list<double> values) {
    return at::tensor(at::ArrayRef<double>(values), at::kDouble).to(at::kFloat);
  };
  EXPECT_TRUE(at::allclose(weights, expected({2 * a / (a + b), 3 * c / (c + d + c), 2 * b / (a + b),
                                              3 * d / (c + d + c), 3 * c / (c + d + c)})));
  // A floor takes from a kind what it leaves to the rest of that kind; nothing goes over to the other.
  EXPECT_TRUE(at::allclose(QualityWeightsByKind(s, kind, 0, 0.05), expected({2, 1.5, 0, 0, 1.5})));
  EXPECT_TRUE(at::allclose(QualityWeightsByKind(s, kind, 0, 0.5), expected({2, 0, 0, 0, 0})));
  for (const bool same : {true, false}) {  // one kind alone: as without kinds
    EXPECT_TRUE(at::equal(QualityWeightsByKind(s, at::full({5}, same, at::kBool), 2), QualityWeights(s, 2)));
  }
}

// The same again as loops over three pairs.
TEST(PairQuality, AgreesWithPlainLoops) {
  constexpr int64_t kPairs = 3, kTokens = 5, kWidth = 4;
  const Tensor t[2] = {NormalTensor(Seed(1), {kPairs, kTokens, kWidth}),
                       NormalTensor(Seed(2), {kPairs, kTokens, kWidth})};
  const Tensor v = NormalTensor(Seed(3), {kWidth});
  const double gamma = 1.5;
  std::vector<double> e;
  for (int64_t i = 0; i < kPairs; ++i) {
    double z[2][2][kWidth] = {};  // view, foreground or background
    for (int view = 0; view < 2; ++view) {
      double s[kTokens], low = INFINITY, high = -INFINITY, sum[2] = {};
      for (int64_t j = 0; j < kTokens; ++j) {
        s[j] = 0;
        for (int64_t c = 0; c < kWidth; ++c) s[j] += t[view][i][j][c].item<double>() * v[c].item<double>();
        low = std::min(low, s[j]);
        high = std::max(high, s[j]);
      }
      for (int64_t j = 0; j < kTokens; ++j) sum[0] += s[j] = (s[j] - low) / (high - low + 1e-7);
      sum[1] = kTokens - sum[0];
      for (int64_t j = 0; j < kTokens; ++j) {
        for (int64_t c = 0; c < kWidth; ++c) {
          z[view][0][c] += s[j] / (sum[0] + 1e-7) * t[view][i][j][c].item<double>();
          z[view][1][c] += (1 - s[j]) / (sum[1] + 1e-7) * t[view][i][j][c].item<double>();
        }
      }
    }
    double cosine[2];
    for (int k = 0; k < 2; ++k) {
      double ab = 0, aa = 0, bb = 0;
      for (int64_t c = 0; c < kWidth; ++c) {
        ab += z[0][k][c] * z[1][k][c];
        aa += z[0][k][c] * z[0][k][c];
        bb += z[1][k][c] * z[1][k][c];
      }
      cosine[k] = ab / std::sqrt(aa * bb);
    }
    e.push_back(std::exp(gamma * (cosine[0] - cosine[1])));
  }
  const Tensor weights = PairQuality(t[0], t[1], v, gamma);
  for (size_t i = 0; i < 3; ++i)
    EXPECT_NEAR(weights[static_cast<int64_t>(i)].item<double>(), 3 * e[i] / (e[0] + e[1] + e[2]), 1e-5);
}

TEST(PairQuality, HasNoGradientAndIgnoresAutocast) {
  Tensor t1 = NormalTensor(Seed(1), {4, 9, 16}).set_requires_grad(true);
  const Tensor t2 = NormalTensor(Seed(2), {4, 9, 16}), v = NormalTensor(Seed(3), {16});
  const Tensor plain = PairQuality(t1, t2, v, 1);
  EXPECT_FALSE(plain.requires_grad());
  const ComputeScope bf16(at::kCPU, at::kBFloat16);
  EXPECT_TRUE(at::equal(PairQuality(t1, t2, v, 1), plain));
}

TEST(CellCover, IsTheShareOfEachCellThatABoxShows) {
  const Tensor boxes = at::tensor({0., 0., 1., 1., 0.25, 0.5, 0.75, 1.}).to(at::kFloat).view({2, 4});
  const Tensor cover = CellCover(boxes, 2);
  EXPECT_TRUE(at::equal(cover[0], at::ones({4})));
  EXPECT_TRUE(at::allclose(cover[1], at::tensor({0., 0., 0.5, 0.5}).to(at::kFloat)));
}

TEST(CompareCrops, OfWholePicturesIsComparePairs) {
  const Tensor t1 = NormalTensor(Seed(1), {3, 9, 4}), t2 = NormalTensor(Seed(2), {3, 9, 4}),
               v = NormalTensor(Seed(3), {4});
  const PairSimilarity whole = ComparePairs(t1, t2, v),
                       crops = CompareCrops(t1, at::ones({3, 9}), t2, at::ones({3, 9}), v);
  EXPECT_TRUE(at::equal(whole.foreground, crops.foreground));
  EXPECT_TRUE(at::equal(whole.background, crops.background));
}

TEST(CompareCrops, CellsOutsideDoNotCount) {
  Tensor t1 = NormalTensor(Seed(1), {2, 9, 4});
  const Tensor t2 = NormalTensor(Seed(2), {2, 9, 4}), v = NormalTensor(Seed(3), {4});
  const Tensor cover = CellCover(at::tensor({0., 0., 0.6, 0.6, 0., 0., 0.6, 0.6}).to(at::kFloat).view({2, 4}), 3);
  EXPECT_EQ(cover[0][8].item<float>(), 0);
  const PairSimilarity before = CompareCrops(t1, cover, t2, cover, v);
  t1.select(1, 8).fill_(100);
  const PairSimilarity after = CompareCrops(t1, cover, t2, cover, v);
  EXPECT_TRUE(at::equal(before.foreground, after.foreground));
  EXPECT_TRUE(at::equal(before.background, after.background));
  t1.select(1, 0).fill_(100);
  EXPECT_FALSE(at::equal(after.foreground, CompareCrops(t1, cover, t2, cover, v).foreground));
}

}  // namespace
}  // namespace genview
