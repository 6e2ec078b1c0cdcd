#include "genview/tensor/kept_memory.h"

#include <gtest/gtest.h>

#include <optional>
#include <thread>

#include "genview/tensor/tensor.h"

namespace genview {
namespace {

constexpr int64_t kMegabyte = 1 << 18;  // in floats

TEST(KeptMemory, WhatIsFreedIsTakenAgain) {
  const KeptMemory kept;
  Tensor a = at::ones({3 * kMegabyte}), b = at::ones({2 * kMegabyte});
  const void *first = a.data_ptr(), *second = b.data_ptr();
  a = Tensor();
  const Tensor c = at::full({kMegabyte}, 7.0), d = at::full({2 * kMegabyte}, 8.0);
  EXPECT_EQ(c.data_ptr(), first);  // both find room where the first was
  EXPECT_LT(d.data_ptr(), second);
  EXPECT_EQ(b.sum().item<double>(), 2 * kMegabyte);
  EXPECT_EQ(c.sum().item<double>(), 7 * kMegabyte);
}

TEST(KeptMemory, NeighboursThatAreFreeBecomeOne) {
  const KeptMemory kept;
  std::vector<Tensor> parts;
  for (int i = 0; i < 4; ++i) parts.push_back(at::empty({kMegabyte}));
  const void* begin = parts[0].data_ptr();
  for (const size_t i : {1, 3, 0, 2}) parts[i] = Tensor();
  EXPECT_EQ(at::empty({4 * kMegabyte}).data_ptr(), begin);
}

TEST(KeptMemory, TensorsOutliveIt) {
  std::optional<KeptMemory> kept(std::in_place);
  const Tensor inside = at::full({kMegabyte}, 3.0);
  kept.reset();
  const Tensor outside = at::full({kMegabyte}, 4.0);
  EXPECT_EQ(inside.sum().item<double>(), 3 * kMegabyte);
  EXPECT_EQ(outside.sum().item<double>(), 4 * kMegabyte);
}

TEST(KeptMemory, SeveralInAnyOrder) {
  std::optional<KeptMemory> one(std::in_place), two(std::in_place);
  const Tensor a = at::full({kMegabyte}, 1.0);
  one.reset();
  const Tensor b = at::full({kMegabyte}, 2.0);
  two.reset();
  const Tensor c = at::full({kMegabyte}, 3.0);
  EXPECT_EQ((a + b + c).sum().item<double>(), 6 * kMegabyte);
}

TEST(KeptMemory, ThreadsShareIt) {
  const KeptMemory kept;
  std::vector<std::thread> threads;
  std::vector<double> sums(4);
  for (size_t t = 0; t < sums.size(); ++t) {
    threads.emplace_back([&sums, t] {
      for (int i = 0; i < 50; ++i)
        sums[t] += at::full({kMegabyte + 1000 * i}, static_cast<double>(t)).max().item<double>();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t t = 0; t < sums.size(); ++t) EXPECT_EQ(sums[t], 50 * static_cast<double>(t));
}

}  // namespace
}  // namespace genview
