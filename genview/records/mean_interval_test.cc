#include "genview/records/mean_interval.h"

#include <cmath>
#include <numbers>

#include <gtest/gtest.h>

namespace genview {
namespace {

// Of tables; with one and two degrees of freedom the quantiles are elementary.
TEST(StudentQuantile, KnownValues) {
  EXPECT_NEAR(StudentQuantile(0.95, 1), 12.7062047361747, 1e-10);
  EXPECT_NEAR(StudentQuantile(0.95, 2), 4.30265272974946, 1e-11);
  EXPECT_NEAR(StudentQuantile(0.95, 30), 2.04227245630124, 1e-11);
  EXPECT_NEAR(StudentQuantile(0.95, 100), 1.98397151852355, 1e-11);
  EXPECT_NEAR(StudentQuantile(0.99, 10), 3.16927267261695, 1e-11);
  for (const double level : {0.5, 0.95, 1 - 0.05 / 6, 1 - 0.05 / 100}) {
    const double one = std::tan(std::numbers::pi / 2 * level), two = std::sqrt(2 / (1 / (level * level) - 1));
    EXPECT_NEAR(StudentQuantile(level, 1) / one, 1, 1e-11) << level;
    EXPECT_NEAR(StudentQuantile(level, 2) / two, 1, 1e-11) << level;
    EXPECT_NEAR(StudentQuantile(level, 100'000) / NormalQuantile(level), 1, 1e-4) << level;
  }
}

TEST(NormalQuantile, KnownValues) {
  EXPECT_NEAR(NormalQuantile(0.95), 1.95996398454005, 1e-12);
  EXPECT_NEAR(NormalQuantile(0.99), 2.5758293035489, 1e-12);
}

TEST(MeanWithInterval, IsStudents) {
  const MeanInterval three = MeanWithInterval({1, 2, 6});
  EXPECT_DOUBLE_EQ(three.mean, 3);
  EXPECT_NEAR(three.high - 3, 4.30265272974946 * std::sqrt(7.0 / 3), 1e-9);
  EXPECT_NEAR(3 - three.low, 4.30265272974946 * std::sqrt(7.0 / 3), 1e-9);
  EXPECT_NEAR(MeanWithInterval({1, 2, 6}, 0.99).high - 3, 9.92484320091807 * std::sqrt(7.0 / 3), 1e-9);
  EXPECT_DOUBLE_EQ(MeanWithInterval({5}).low, 5);
  std::vector<double> many(101, 1.0);
  many[0] = 2;
  const double deviation = std::sqrt((100.0 / 101) / 100 / 101);  // of the mean
  EXPECT_NEAR((MeanWithInterval(many).high - MeanWithInterval(many).mean) / deviation, 1.98397151852355, 1e-9);
}

TEST(MeanOfPercents, StaysBetween0And100) {
  const MeanInterval few = MeanOfPercents({12.5, 25});
  EXPECT_DOUBLE_EQ(few.mean, 18.75);
  EXPECT_EQ(few.low, 0);
  EXPECT_NEAR(few.high, 18.75 + 6.25 * 12.7062047361747, 1e-9);
  EXPECT_EQ(MeanOfPercents({99, 99.5}).high, 100);
  EXPECT_EQ(MeanOfPercents({100}).low, 100);
}

}  // namespace
}  // namespace genview
