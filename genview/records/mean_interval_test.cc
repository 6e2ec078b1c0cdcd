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

TEST(MeanOfPercents, StaysBetween0And100) {
  const MeanInterval few = MeanOfPercents({12.5, 25});
  EXPECT_DOUBLE_EQ(few.mean, 18.75);
  EXPECT_EQ(few.low, 0);
  EXPECT_NEAR(few.high, 98.1625, 1e-9);
  EXPECT_EQ(MeanOfPercents({99, 99.5}).high, 100);
  EXPECT_EQ(MeanOfPercents({100}).low, 100);
}

}  // namespace
}  // namespace genview
