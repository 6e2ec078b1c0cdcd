#include "genview/data/ordered_batches.h"

#include <gtest/gtest.h>

#include <atomic>

namespace genview {
namespace {

using Numbers = std::vector<int64_t>;

std::vector<Numbers> AllOf(OrderedPlan plan) {
  OrderedBatches<Numbers> work(
      plan, [](int64_t, int64_t count) { return Numbers(static_cast<size_t>(count), -1); },
      [](Numbers& batch, int64_t slot, int64_t position) {
        if (position % 7 == 0) std::this_thread::yield();
        batch[static_cast<size_t>(slot)] = position * 10;
      });
  std::vector<Numbers> all;
  for (Numbers batch; work.Next(batch);) all.push_back(batch);
  return all;
}

TEST(OrderedBatches, GiveTheSameForAnyThreadsGrainAndPrefetch) {
  std::vector<Numbers> expected;
  for (int64_t position = 0; position < 103; ++position) {
    if (position % 10 == 0) expected.emplace_back();
    expected.back().push_back(position * 10);
  }
  for (const int64_t threads : {1, 2, 5, 16}) {
    for (const int64_t ahead : {1, 2, 5}) {
      for (const int64_t grain : {1, 3, 64}) {
        EXPECT_EQ(AllOf({.end = 103, .batch = 10, .threads = threads, .ahead = ahead, .grain = grain}), expected);
      }
    }
  }
}

TEST(OrderedBatches, BeginInTheMiddle) {
  const auto all = AllOf({.begin = 20, .end = 35, .batch = 10, .threads = 3});
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0][0], 200);
  EXPECT_EQ(all[1], (Numbers{300, 310, 320, 330, 340}));
  EXPECT_TRUE(AllOf({.begin = 20, .end = 20, .batch = 10, .threads = 3}).empty());
}

TEST(OrderedBatches, NextThrowsWhatTheFirstBadItemThrew) {
  for (const int64_t threads : {1, 4}) {
    OrderedBatches<int> work(
        {.end = 40, .batch = 10, .threads = threads}, [](int64_t n, int64_t) { return static_cast<int>(n); },
        [](int&, int64_t, int64_t position) {
          if (position >= 15 && position < 18) throw std::runtime_error(std::to_string(position));
        });
    int batch = -1;
    EXPECT_TRUE(work.Next(batch));
    try {
      work.Next(batch);
      FAIL();
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "15");
    }
    EXPECT_TRUE(work.Next(batch));
    EXPECT_EQ(batch, 2);
  }
}

TEST(OrderedBatches, NextThrowsWhatMakingTheBatchThrew) {
  OrderedBatches<int> work(
      {.end = 4, .batch = 2, .threads = 2},
      [](int64_t number, int64_t) -> int {
        if (number == 0) throw std::bad_alloc();
        return 1;
      },
      [](int&, int64_t, int64_t) {});
  int batch = 0;
  EXPECT_THROW(work.Next(batch), std::bad_alloc);
  EXPECT_TRUE(work.Next(batch));
  EXPECT_FALSE(work.Next(batch));
}

TEST(OrderedBatches, NoMoreThanAheadAreBegun) {
  std::atomic<int64_t> begun = 0;
  OrderedBatches<int> work(
      {.end = 1000, .batch = 10, .threads = 4, .ahead = 2}, [&](int64_t, int64_t) { return static_cast<int>(++begun); },
      [](int&, int64_t, int64_t) {});
  int batch = 0;
  for (int taken = 1; taken <= 5; ++taken) {
    ASSERT_TRUE(work.Next(batch));
    EXPECT_LE(begun, taken + 2);
  }
}

TEST(OrderedBatches, MayBeDroppedAtAnyTime) {
  for (int taken = 0; taken < 4; ++taken) {
    OrderedBatches<int> work(
        {.end = 1000, .batch = 3, .threads = 5}, [](int64_t, int64_t) { return 0; }, [](int&, int64_t, int64_t) {});
    int batch = 0;
    for (int i = 0; i < taken; ++i) work.Next(batch);
  }
}

TEST(OrderedBatches, WaitShareIsAShare) {
  OrderedBatches<int> work(
      {.end = 10, .batch = 5, .threads = 1}, [](int64_t, int64_t) { return 0; }, [](int&, int64_t, int64_t) {});
  int batch = 0;
  while (work.Next(batch)) {
  }
  EXPECT_GE(work.WaitShare(), 0);
  EXPECT_LE(work.WaitShare(), 1);
}

}  // namespace
}  // namespace genview
