#include "genview/foreground/threshold.h"

#include <gtest/gtest.h>

#include <cmath>

#include "genview/base/error.h"

namespace genview {
namespace {

double ShareAbove(const Tensor& scores, double threshold) {
  return (scores > threshold).to(at::kDouble).mean().item<double>();
}

TEST(ThresholdByShare, LeavesExactlyThatShareAbove) {
  const Tensor scores = NormalTensor(Seed(1), {40, 250});
  for (const double share : {0.0, 0.001, 0.25, 0.4, 0.65, 0.999, 1.0}) {
    EXPECT_DOUBLE_EQ(ShareAbove(scores, ThresholdByShare(scores, share)), share) << share;
  }
}

TEST(ThresholdByShare, LiesBetweenTwoScores) {
  EXPECT_EQ(ThresholdByShare(at::tensor({4., 1., 2., 3.}).to(at::kFloat), 0.5), 2.5);
  EXPECT_EQ(ThresholdByShare(at::tensor({7.}).to(at::kFloat), 0.0), 7);
  // Neighbouring floats: the lower one itself.
  const float low = 1, high = std::nextafter(1.0f, 2.0f);
  EXPECT_EQ(ThresholdByShare(at::tensor({low, high}), 0.5), 1.0);
}

// A share that rounds to all or to none of the scores, too: scores made in another batch differ in their last bits.
TEST(ThresholdByShare, RoundingOfScoresFlipsNone) {
  const Tensor scores = NormalTensor(Seed(2), {300}), rounded = scores * (1 - 3e-7);
  for (const double share : {0.0, 0.001, 0.4, 0.999, 1.0}) {
    const double threshold = ThresholdByShare(scores, share);
    EXPECT_DOUBLE_EQ(ShareAbove(rounded, threshold), ShareAbove(scores, threshold)) << share;
    EXPECT_DOUBLE_EQ(ShareAbove(scores * (1 + 3e-7), threshold), ShareAbove(scores, threshold)) << share;
  }
}

TEST(ThresholdByShare, EqualScoresGoAllToOneSide) {
  EXPECT_EQ(ShareAbove(at::ones({10}), ThresholdByShare(at::ones({10}), 0.4)), 0);
}

TEST(ThresholdByHistogram, LeavesAtLeastThatShareAbove) {
  const Tensor scores = NormalTensor(Seed(1), {100000});
  const double threshold = ThresholdByHistogram(scores, 0.35);
  EXPECT_GE(ShareAbove(scores, threshold), 0.35);
  EXPECT_LE(ShareAbove(scores, threshold), 0.37);
}

// 200 bins over [0, 200]: 7 scores in bin 0, then none, then 3 in the last one.
TEST(ThresholdByHistogram, ARunOfEmptyBinsKeepsItsLastEdge) {
  Tensor scores = at::zeros({10});
  scores.narrow(0, 7, 3).fill_(200);
  EXPECT_DOUBLE_EQ(ThresholdByHistogram(scores, 0.35), 198);
  EXPECT_DOUBLE_EQ(ThresholdByHistogram(scores, 0.25), 199);
  EXPECT_DOUBLE_EQ(ThresholdByHistogram(at::ones({5}), 0.35), 1);
}

TEST(Threshold, NothingAndNanAreErrors) {
  EXPECT_THROW(ThresholdByShare(at::empty({0}), 0.4), Error);
  EXPECT_THROW(ThresholdByHistogram(at::full({3}, NAN), 0.4), Error);
}

TEST(TokenScores, AreOfTheUncentredTokens) {
  const Tensor tokens = NormalTensor(Seed(1), {3, 4, 5}) + 10, v = NormalTensor(Seed(2), {5});
  const Tensor scores = TokenScores(tokens, v);
  EXPECT_EQ(scores.sizes(), (at::IntArrayRef{3, 4}));
  EXPECT_NEAR(scores[1][2].item<double>(), tokens[1][2].dot(v).item<double>(), 1e-4);
}

}  // namespace
}  // namespace genview
