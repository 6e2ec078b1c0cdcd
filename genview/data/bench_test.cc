#include "genview/data/bench.h"

#include <gtest/gtest.h>

namespace genview {
namespace {

TEST(BenchLoader, CountsWhatItReads) {
  Progress progress;
  for (const int64_t views : {1, 2}) {
    const auto result = BenchLoader(
        {.images = "shapes:count=40,size=16", .size = 16, .views = views, .threads = 2, .seconds = 0.05}, progress);
    EXPECT_GT(result.images, 0);
    EXPECT_GE(result.seconds, 0.05);
    EXPECT_EQ(result.threads, 2);
    EXPECT_EQ(result.skipped, 0);
    EXPECT_NEAR(result.images_per_second, static_cast<double>(result.images) / result.seconds, 1e-6);
  }
}

}  // namespace
}  // namespace genview
