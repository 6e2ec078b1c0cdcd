#include "genview/tensor/row_groups.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

namespace genview {
namespace {

TEST(RowGroups, EveryRowIsSeenOnceWhateverTheThreads) {
  const int before = at::get_num_threads();
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    for (const int64_t rows : {0, 1, 4, 5, 13}) {
      std::vector<std::atomic<int>> seen(13);
      std::atomic<int64_t> calls = 0;
      ForEachRowGroup(rows, 4, at::kCPU, [&](int64_t first, int64_t last, int64_t index) {
        EXPECT_EQ(first, index * 4);
        EXPECT_LE(last - first, 4);
        for (int64_t row = first; row < last; ++row) ++seen[static_cast<size_t>(row)];
        ++calls;
      });
      EXPECT_EQ(calls, GroupCount(rows, 4));
      for (int64_t row = 0; row < 13; ++row)
        EXPECT_EQ(seen[static_cast<size_t>(row)], row < rows ? 1 : 0) << rows << " rows, row " << row;
    }
  }
  at::set_num_threads(before);
}

TEST(RowGroups, EvenGroupsGiveTwoThreadsTheSameToDo) {
  for (const int64_t most : {1, 4, 16}) {
    for (int64_t rows = 1; rows <= 100; ++rows) {
      const int64_t group = EvenGroup(rows, most);
      ASSERT_GE(group, 1);
      ASSERT_LE(group, most);
      EXPECT_GE(GroupCount(rows, group), rows > 1 ? 2 : 1) << rows << " rows, at most " << most;
      // All groups but the last are of one size; what the last lacks is less than a row for each of the others.
      EXPECT_LT(group * GroupCount(rows, group) - rows, GroupCount(rows, group)) << rows << " rows, at most " << most;
    }
  }
  EXPECT_EQ(EvenGroup(16, 16), 8);
  EXPECT_EQ(EvenGroup(48, 16), 12);
  EXPECT_EQ(EvenGroup(0, 16), 1);
}

TEST(RowGroups, GivesTheSameBytesForAnyNumberOfThreads) {
  const int before = at::get_num_threads();
  const c10::InferenceMode guard;
  const Tensor x = NormalTensor(Seed(1), {24, 64}), w = NormalTensor(Seed(2), {64, 64});
  std::vector<Tensor> results;
  for (const int threads : {1, 2, 5}) {
    at::set_num_threads(threads);
    std::vector<Tensor> parts(static_cast<size_t>(GroupCount(24, 5)));
    ForEachRowGroup(24, 5, at::kCPU, [&](int64_t first, int64_t last, int64_t index) {
      parts[static_cast<size_t>(index)] = x.slice(0, first, last).matmul(w).softmax(1);
    });
    results.push_back(at::cat(parts));
  }
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(results[0], results[1]));
  EXPECT_TRUE(at::equal(results[0], results[2]));
}

TEST(RowGroups, AnExceptionReachesTheCaller) {
  EXPECT_THROW(ForEachRowGroup(16, 1, at::kCPU,
                               [](int64_t first, int64_t, int64_t) {
                                 if (first == 7) throw std::runtime_error("group 7");
                               }),
               std::runtime_error);
}

}  // namespace
}  // namespace genview
