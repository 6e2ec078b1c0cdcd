#include "genview/eval/knn_votes.h"

#include <cmath>

#include "tests/golden/compare.h"

namespace genview {
namespace {

TEST(KnnVotes, FollowLightly) {
  const WeightMap golden = Golden("eval/knn");
  const std::vector<std::pair<int64_t, double>> settings = {{5, 0.07}, {20, 0.1}, {90, 0.5}};
  for (const auto& [k, temperature] : settings) {
    const Tensor votes = KnnVotes(golden.At("bank"), golden.At("labels"), golden.At("queries"), 6, k, temperature);
    const Tensor& theirs = golden.At(Format("votes.{}", k));
    EXPECT_CLOSE(votes.softmax(1), theirs / theirs.sum(1, /*keepdim=*/true), 1e-4);
    EXPECT_TRUE(at::equal(votes.argmax(1), golden.At(Format("order.{}", k)).select(1, 0))) << k;
  }
}

TEST(KnnVotes, FollowTheFormula) {
  const Tensor bank = at::tensor({3.0f, 0.0f, 0.0f, 2.0f, 1.0f, 1.0f}).view({3, 2}),
               labels = at::tensor({1, 0, 2}, at::kLong);
  const Tensor votes = KnnVotes(bank, labels, at::tensor({5.0f, 0.0f}).view({1, 2}), 4, 2, 0.5);
  EXPECT_EQ(votes[0][1].item<double>(), 0);
  EXPECT_NEAR(votes[0][2].item<double>(), std::sqrt(2) - 2, 1e-5);
  EXPECT_EQ(votes[0][0].item<double>(), -INFINITY);
  EXPECT_EQ(KnnVotes(bank, labels, bank, 4, 1000, 0.5).sizes(), (std::vector<int64_t>{3, 4}));
}

TEST(KnnVotes, KeepTheOrderAtSmallTemperatures) {
  // Cosines 1, 0.99, 0.95 and 0.5 with the query, of the classes 3, 2, 1 and 0.
  std::vector<float> rows;
  for (const double cosine : {1.0, 0.99, 0.95, 0.5})
    rows.insert(rows.end(), {static_cast<float>(cosine), static_cast<float>(std::sqrt(1 - cosine * cosine))});
  const Tensor bank = at::tensor(rows).view({4, 2}), labels = at::tensor({3, 2, 1, 0}, at::kLong),
               query = at::tensor({1.0f, 0.0f}).view({1, 2});
  for (const double temperature : {1e-3, 0.01, 0.07, 100.0}) {
    const Tensor votes = KnnVotes(bank, labels, query, 5, 4, temperature);
    EXPECT_TRUE(at::equal(votes.argsort(1, /*descending=*/true)[0], at::tensor({3, 2, 1, 0, 4}, at::kLong)))
        << temperature;
    EXPECT_EQ(CountHits(votes, at::tensor({0}, at::kLong), /*voted_only=*/true).top5, 1)
        << temperature;  // far away, but it has voted
    EXPECT_EQ(CountHits(votes, at::tensor({4}, at::kLong), /*voted_only=*/true).top5, 0) << temperature;
  }
}

TEST(KnnVotes, SeveralNumbersOfNeighboursGiveWhatEachGives) {
  const Tensor bank = NormalTensor(Seed(1), {50, 4}), queries = NormalTensor(Seed(2), {9, 4});
  const Tensor labels = at::arange(50, at::kLong).remainder(5);
  const std::vector<int64_t> ks{7, 1, 200, 7};
  const std::vector<Tensor> votes = KnnVotes(bank, labels, queries, 5, ks, 0.1);
  ASSERT_EQ(votes.size(), ks.size());
  for (size_t i = 0; i < ks.size(); ++i)
    EXPECT_TRUE(at::equal(votes[i], KnnVotes(bank, labels, queries, 5, ks[i], 0.1))) << ks[i];
  EXPECT_FALSE(at::equal(votes[0], votes[1]));
}

TEST(KnnVotes, BlocksGiveWhatTheWholeGives) {
  const int64_t m = 70000, n = 600;  // more than a block of either
  const Tensor bank = NormalTensor(Seed(1), {m, 3}), queries = NormalTensor(Seed(2), {n, 3});
  const Tensor labels = at::arange(m, at::kLong).remainder(7);
  const Tensor votes = KnnVotes(bank, labels, queries, 7, 10, 0.1);
  const auto unit = [](const Tensor& x) { return x / x.norm(2, {1}, true); };
  const auto [similar, places] = at::topk(at::matmul(unit(queries), unit(bank).t()), 10, 1);
  const Tensor owners = labels.index_select(0, places.flatten()).view_as(places);
  const Tensor expected = at::zeros({n, 7}).scatter_add_(1, owners, (similar / 0.1).exp());
  EXPECT_CLOSE(votes.softmax(1), expected / expected.sum(1, true), 1e-4);
}

TEST(CountHits, CountsFirstAndFirstFive) {
  const Tensor scores = at::tensor({9, 8, 7, 6, 5, 4, 0, 1, 2, 3, 4, 5}, at::kFloat).view({2, 6});
  const auto hits = [&](int64_t a, int64_t b) { return CountHits(scores, at::tensor({a, b}, at::kLong)); };
  EXPECT_EQ(hits(0, 5).top1, 2);
  EXPECT_EQ(hits(1, 5).top1, 1);
  EXPECT_EQ(hits(4, 1).top5, 2);
  EXPECT_EQ(hits(5, 0).top5, 0);
  EXPECT_EQ(hits(0, 0).total, 2);
}

TEST(CountHits, TiesAndEmptyVotes) {
  const Tensor scores = at::zeros({1, 8});
  EXPECT_EQ(CountHits(scores, at::tensor({0}, at::kLong)).top1, 1);
  EXPECT_EQ(CountHits(scores, at::tensor({3}, at::kLong)).top1, 0);
  EXPECT_EQ(CountHits(scores, at::tensor({3}, at::kLong)).top5, 1);
  EXPECT_EQ(CountHits(at::full({1, 8}, -INFINITY), at::tensor({0}, at::kLong), /*voted_only=*/true).top1, 0);
  EXPECT_EQ(CountHits(at::full({1, 3}, NAN), at::tensor({0}, at::kLong)).top1, 0);
}

}  // namespace
}  // namespace genview
