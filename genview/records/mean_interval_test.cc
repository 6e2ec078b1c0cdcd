#include "genview/records/mean_interval.h"

#include <cmath>

#include <gtest/gtest.h>

namespace genview {
namespace {

TEST(MeanWithInterval, IsStudents) {
  const MeanInterval three = MeanWithInterval({1, 2, 6});
  EXPECT_DOUBLE_EQ(three.mean, 3);
  EXPECT_NEAR(three.high - 3, 4.303 * std::sqrt(7.0 / 3), 1e-9);
  EXPECT_NEAR(3 - three.low, 4.303 * std::sqrt(7.0 / 3), 1e-9);
  EXPECT_DOUBLE_EQ(MeanWithInterval({5}).low, 5);
  std::vector<double> many(101, 1.0);
  many[0] = 2;
  const double deviation = std::sqrt((100.0 / 101) / 100 / 101);  // of the mean
  EXPECT_NEAR((MeanWithInterval(many).high - MeanWithInterval(many).mean) / deviation, 1.984, 2e-3);
}

}  // namespace
}  // namespace genview
