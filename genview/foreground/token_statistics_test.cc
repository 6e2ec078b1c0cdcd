#include "genview/foreground/token_statistics.h"

#include <gtest/gtest.h>

#include "genview/base/error.h"

namespace genview {
namespace {

// Pictures with an object of `direction` on the places where `inside` is 1.
Tensor Pictures(int64_t n, int64_t grid, const Tensor& inside, const Tensor& direction, double noise = 0.1) {
  const int64_t width = direction.size(0);
  return noise * NormalTensor(Seed(9), {n, grid * grid, width}) + 5 + inside.view({1, -1, 1}) * direction;
}

Tensor CentreOf(int64_t grid) {
  const Tensor offset = (at::arange(grid, at::kFloat) - static_cast<double>(grid - 1) / 2).abs();
  return at::outer(offset <= static_cast<double>(grid) / 4, offset <= static_cast<double>(grid) / 4)
      .to(at::kFloat)
      .flatten();
}

TEST(TokenStatistics, BatchesMergeToTheWhole) {
  const Tensor tokens = NormalTensor(Seed(1), {17, 9, 6}) * 2 + 100;
  TokenStatistics whole(3, 6), parts(3, 6);
  whole.Add(tokens);
  for (const auto& [begin, count] : {std::pair<int64_t, int64_t>{0, 1}, {1, 0}, {1, 10}, {11, 6}}) {
    parts.Add(tokens.narrow(0, begin, count));
  }
  EXPECT_EQ(parts.rows(), 17 * 9);
  EXPECT_TRUE(at::allclose(whole.mean(), parts.mean(), 1e-12, 1e-12));
  EXPECT_TRUE(at::allclose(whole.covariance(), parts.covariance(), 1e-10, 1e-10));
  EXPECT_TRUE(at::allclose(whole.place_means(), parts.place_means(), 1e-12, 1e-12));
  const Tensor rows = tokens.to(at::kDouble).view({-1, 6}), centred = rows - rows.mean(0);
  EXPECT_TRUE(at::allclose(whole.covariance(), at::matmul(centred.t(), centred) / (17 * 9 - 1), 1e-10, 1e-10));
}

// To the byte.
TEST(TokenStatistics, GoOnFromTheirState) {
  const Tensor tokens = NormalTensor(Seed(1), {17, 9, 6}) * 2 + 100;
  TokenStatistics whole(3, 6), first(3, 6), rest(3, 6);
  EXPECT_TRUE(first.State().empty());
  for (TokenStatistics* statistics : {&whole, &first}) statistics->Add(tokens.narrow(0, 0, 8));
  WeightMap state("state");
  for (const auto& [name, tensor] : first.State()) state.Add(name, tensor);
  ASSERT_TRUE(rest.Load(state, first.images(), at::kCPU));
  for (TokenStatistics* statistics : {&whole, &rest}) statistics->Add(tokens.narrow(0, 8, 9));
  EXPECT_EQ(rest.rows(), whole.rows());
  EXPECT_TRUE(at::equal(rest.mean(), whole.mean()));
  EXPECT_TRUE(at::equal(rest.covariance(), whole.covariance()));
  EXPECT_TRUE(at::equal(rest.place_means(), whole.place_means()));
  EXPECT_EQ(first.images(), 8);  // whose memory is its own
  EXPECT_FALSE(TokenStatistics(3, 5).Load(state, 8, at::kCPU));
  EXPECT_FALSE(TokenStatistics(2, 6).Load(state, 8, at::kCPU));
  EXPECT_FALSE(TokenStatistics(3, 6).Load(state, -1, at::kCPU));
  EXPECT_FALSE(TokenStatistics(3, 6).Load(WeightMap("empty"), 8, at::kCPU));
}

// With a mean of a million and a spread of one, sums of squares in fp32 would leave nothing.
TEST(TokenStatistics, FarFromTheOriginNothingCancels) {
  const Tensor tokens = (NormalTensor(Seed(1), {50, 4, 3}).to(at::kDouble) + 1e6);
  TokenStatistics statistics(2, 3);
  for (int64_t i = 0; i < 50; ++i) statistics.Add(tokens.narrow(0, i, 1));
  const Tensor centred = (tokens - 1e6).view({-1, 3});
  const Tensor expected = at::matmul((centred - centred.mean(0)).t(), centred - centred.mean(0)) / 199;
  EXPECT_TRUE(at::allclose(statistics.covariance(), expected, 1e-6, 1e-6));
}

TEST(FirstComponent, SignFollowsTheCentre) {
  for (const int64_t grid : {4, 7, 16}) {
    const Tensor direction = NormalTensor(Seed(2), {8});
    for (const double sign : {1.0, -1.0}) {
      TokenStatistics statistics(grid, 8);
      statistics.Add(Pictures(10, grid, CentreOf(grid), sign * direction));
      const PrincipalComponent pc = FirstComponent(statistics);
      EXPECT_NEAR(pc.component.norm().item<double>(), 1, 1e-6);
      EXPECT_GT(pc.component.dot(sign * direction / direction.norm()).item<double>(), 0.99) << grid;
      EXPECT_GT(pc.margin, 1);
      EXPECT_GT(pc.variance_share, 0.5);
    }
  }
}

// The object fills the border: the sign follows the rule all the same, and a centre without object scores lower
// elsewhere.
TEST(FirstComponent, TheEmptyCentreBecomesTheForeground) {
  const Tensor direction = NormalTensor(Seed(2), {8});
  TokenStatistics statistics(8, 8);
  statistics.Add(Pictures(10, 8, 1 - CentreOf(8), direction));
  EXPECT_LT(FirstComponent(statistics).component.dot(direction).item<double>(), 0);
}

TEST(FirstComponent, GridsWithoutCentreGetAFixedSign) {
  TokenStatistics statistics(1, 5);
  statistics.Add(NormalTensor(Seed(3), {40, 1, 5}) * at::tensor({1., 1., 4., 1., 1.}).to(at::kFloat));
  const PrincipalComponent pc = FirstComponent(statistics);
  EXPECT_GT(pc.component[2].item<double>(), 0.8);
  EXPECT_EQ(pc.margin, 0);
}

TEST(FirstComponent, NeedsFiniteTokensAndEnough) {
  TokenStatistics few(1, 3);
  EXPECT_THROW(FirstComponent(few), Error);
  few.Add(at::ones({1, 1, 3}));
  EXPECT_THROW(FirstComponent(few), Error);
  TokenStatistics infinite(2, 3);
  infinite.Add(at::full({2, 4, 3}, INFINITY));
  EXPECT_THROW(FirstComponent(infinite), Error);
}

}  // namespace
}  // namespace genview
