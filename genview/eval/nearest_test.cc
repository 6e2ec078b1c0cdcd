#include "genview/eval/nearest.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <set>

namespace genview {
namespace {

Tensor Unit(const Tensor& x) {
  const Tensor exact = x.to(at::kDouble);
  return exact / exact.norm(2, {1}, true);
}

// Of every query: the places found are the k largest cosines, in fp64 to rounding, nearest first.
void ExpectNearest(const Tensor& bank, const Tensor& queries, int64_t k, bool half) {
  const auto found = NearestRows(bank, k, half).Find(queries);
  const Tensor cosines = at::matmul(Unit(queries), Unit(bank).t());
  const Tensor best = std::get<0>(cosines.topk(k, 1));
  ASSERT_EQ(static_cast<int64_t>(found.size()), queries.size(0));
  for (int64_t i = 0; i < queries.size(0); ++i) {
    const auto& neighbours = found[static_cast<size_t>(i)];
    ASSERT_EQ(static_cast<int64_t>(neighbours.size()), k);
    std::set<int64_t> places;
    for (int64_t n = 0; n < k; ++n) {
      const Neighbour& one = neighbours[static_cast<size_t>(n)];
      places.insert(one.place);
      EXPECT_NEAR(one.similarity, best[i][n].item<double>(), 2e-6);
      EXPECT_NEAR(cosines[i][one.place].item<double>(), best[i][n].item<double>(), 2e-6);
    }
    EXPECT_EQ(static_cast<int64_t>(places.size()), k);
  }
}

TEST(NearestRows, AreTheNearest) {
  const Tensor bank = NormalTensor(Seed(1), {5000, 70}), queries = NormalTensor(Seed(2), {30, 70});
  for (const bool half : {false, true}) ExpectNearest(bank, queries, 40, half);
}

TEST(NearestRows, FeaturesThatDifferLessThanBf16Sees) {
  const Tensor shared = NormalTensor(Seed(3), {1, 70}) * 50;
  const Tensor bank = NormalTensor(Seed(1), {5000, 70}) + shared, queries = NormalTensor(Seed(2), {10, 70}) + shared;
  ExpectNearest(bank, queries, 40, /*half=*/true);
}

TEST(NearestRows, OfEquallyNearTheFirst) {
  const Tensor bank = at::ones({3000, 8});
  for (const bool half : {false, true}) {
    const auto found = NearestRows(bank, 5, half).Find(at::ones({2, 8}));
    for (int64_t n = 0; n < 5; ++n) EXPECT_EQ(found[1][static_cast<size_t>(n)].place, n);
  }
}

TEST(NearestRows, NotANumberIsNobodysNeighbour) {
  for (const bool half : {false, true}) {
    Tensor bank = NormalTensor(Seed(1), {100, 8});
    bank[3].fill_(NAN);
    const auto found = NearestRows(bank, 100, half).Find(NormalTensor(Seed(2), {1, 8}));
    EXPECT_EQ(found[0].size(), 99u);
    for (const Neighbour& one : found[0]) EXPECT_NE(one.place, 3);
  }
}

TEST(NearestRows, ThreadsChangeNoBit) {
  const Tensor bank = NormalTensor(Seed(1), {9000, 64}), queries = NormalTensor(Seed(2), {40, 64});
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = NearestRows(bank, 30, /*half=*/true).Find(queries);
  at::set_num_threads(5);
  const auto five = NearestRows(bank, 30, /*half=*/true).Find(queries);
  at::set_num_threads(before);
  for (size_t i = 0; i < one.size(); ++i) {
    for (size_t n = 0; n < one[i].size(); ++n) {
      EXPECT_EQ(one[i][n].place, five[i][n].place);
      EXPECT_EQ(one[i][n].similarity, five[i][n].similarity);
    }
  }
}

}  // namespace
}  // namespace genview
