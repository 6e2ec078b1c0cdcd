#include "genview/tensor/finite.h"

#include <gtest/gtest.h>

#include <cmath>

namespace genview {
namespace {

// Shapes of one piece, of many, of pieces that do not come out even, and of none.
const std::vector<std::vector<int64_t>> kShapes{{}, {1}, {3, 5}, {300, 301}, {3, 40000}, {64, 32, 3, 3}};
constexpr at::ScalarType kTypes[] = {at::kHalf, at::kBFloat16, at::kFloat, at::kDouble, at::kFloat8_e5m2};

TEST(Finite, OneBadValueAnywhereIsFound) {
  for (const auto& shape : kShapes) {
    for (const at::ScalarType type : kTypes) {
      const Tensor good = NormalTensor(Seed(1), shape);
      EXPECT_TRUE(AllFinite(good.to(type))) << type << " of " << good.numel();
      for (const int64_t at : {int64_t{0}, good.numel() / 2, good.numel() - 1}) {
        for (const double bad : {NAN, INFINITY, -INFINITY}) {
          Tensor x = good.clone();
          x.view({-1})[at] = bad;
          EXPECT_FALSE(AllFinite(x.to(type))) << bad << " at " << at << " of " << type;
          EXPECT_FALSE(CopyFinite(at::empty(shape, at::kFloat), x.to(type)));
        }
      }
    }
  }
  EXPECT_TRUE(AllFinite(at::empty({0, 3})));
  EXPECT_TRUE(AllFinite(at::full({2}, 65504.0, at::kHalf)));  // the largest there is
}

TEST(Finite, ACopyIsWhatCopyMakesInAnyOrderOfMemory) {
  for (const auto& shape : kShapes) {
    for (const at::ScalarType type : kTypes) {
      const Tensor from = NormalTensor(Seed(2), shape).to(type), wanted = from.to(at::kFloat);
      Tensor to = at::empty(shape, at::kFloat);
      EXPECT_TRUE(CopyFinite(to, from));
      EXPECT_TRUE(at::equal(to, wanted));
      if (shape.size() != 4) continue;
      to = at::empty(shape, at::TensorOptions(at::kFloat).memory_format(at::MemoryFormat::ChannelsLast));
      EXPECT_TRUE(CopyFinite(to, from));
      EXPECT_TRUE(at::equal(to, wanted));
    }
  }
}

}  // namespace
}  // namespace genview
