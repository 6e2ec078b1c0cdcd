#include "genview/tensor/split_products.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>

namespace genview {
namespace {

double Away(const Tensor& got, const Tensor& exact) {
  return ((got.to(at::kDouble) - exact).norm() / exact.norm()).item<double>();
}

bool CanSplit() {
  const c10::InferenceMode guard;
  return SplitProductsPay(at::ones({1}), 1 << 12, 1 << 12, 1 << 12);
}

TEST(SplitProducts, TwoHalvesHaveTwiceTheDigits) {
  const Tensor x =
      at::cat({NormalTensor(Seed(1), {999}) * 1e3, at::tensor({0.0, -0.0, 1.0, 3.0e38, 1e-30}).to(at::kFloat)});
  std::vector<Bf16> upper(static_cast<size_t>(x.numel())), lower(upper.size());
  SplitValues(x.const_data_ptr<float>(), x.numel(), upper.data(), lower.data());
  for (size_t i = 0; i < upper.size(); ++i) {
    const float value = x.const_data_ptr<float>()[i], sum = bf16::Load(&upper[i]) + bf16::Load(&lower[i]);
    EXPECT_LE(std::abs(sum - value), std::abs(value) * std::ldexp(1.0f, -17)) << value;
  }
}

TEST(SplitProducts, WhatIsNotFiniteStaysSo) {
  const float values[] = {INFINITY, -INFINITY, NAN};
  Bf16 upper[3], lower[3];
  SplitValues(values, 3, upper, lower);
  EXPECT_EQ(bf16::Load(&upper[0]), INFINITY);
  EXPECT_EQ(bf16::Load(&upper[1]), -INFINITY);
  EXPECT_TRUE(std::isnan(bf16::Load(&upper[2])));
  for (const Bf16& rest : lower) EXPECT_EQ(bf16::Load(&rest), 0.0f);
}

TEST(SplitProducts, AreNearlyFp32) {
  if (!CanSplit()) GTEST_SKIP() << "this processor multiplies bf16 no faster than fp32";
  struct Case {
    int64_t rows, outs, width;
  };
  // One of each, several panels, several parts of the rows, widths that are no multiple of anything.
  for (const Case& c : {Case{1, 1, 1}, {3, 5, 7}, {65, 300, 129}, {2050, 17, 64}, {100, 256, 2048}}) {
    const Tensor x = NormalTensor(Seed(1), {c.rows, c.width}), weight = NormalTensor(Seed(2), {c.outs, c.width}),
                 bias = NormalTensor(Seed(3), {c.outs});
    for (const at::ScalarType type : {at::kFloat, at::kHalf, at::kBFloat16}) {
      const Tensor stored = weight.to(type), exact = at::mm(x.to(at::kDouble), stored.to(at::kDouble).t());
      EXPECT_LT(Away(SplitLinear(x, stored, {}), exact), 1e-5)
          << c.rows << " x " << c.width << " x " << c.outs << ", " << type;
      EXPECT_LT(Away(SplitLinear(x, stored, bias), exact + bias.to(at::kDouble)), 1e-5);
    }
  }
}

TEST(SplitProducts, FactorsMayLieInAnyOrder) {
  if (!CanSplit()) GTEST_SKIP() << "this processor multiplies bf16 no faster than fp32";
  const Tensor x = NormalTensor(Seed(1), {40, 30}), weight = NormalTensor(Seed(2), {40, 20});
  EXPECT_TRUE(
      at::equal(SplitLinear(x.t(), weight.t(), {}), SplitLinear(x.t().contiguous(), weight.t().contiguous(), {})));
}

TEST(SplitProducts, ThreadsChangeNoByte) {
  if (!CanSplit()) GTEST_SKIP() << "this processor multiplies bf16 no faster than fp32";
  const Tensor x = NormalTensor(Seed(1), {2100, 320}), weight = NormalTensor(Seed(2), {1000, 320});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Tensor one = SplitLinear(x, weight, {});
  for (const int several : {2, 5}) {
    at::set_num_threads(several);
    EXPECT_TRUE(at::equal(SplitLinear(x, weight, {}), one)) << several;
  }
  at::set_num_threads(threads);
}

TEST(SplitProducts, AreForLargeProductsThatAreNotTrainedThrough) {
  const Tensor x = at::ones({1});
  EXPECT_FALSE(SplitProductsPay(x, 1 << 12, 1 << 12, 1 << 12));  // gradients are recorded
  const c10::InferenceMode guard;
  EXPECT_FALSE(SplitProductsPay(x, 256, 128, 8));
  EXPECT_FALSE(SplitProductsPay(x, 8, 1 << 15, 1 << 15));
  EXPECT_FALSE(SplitProductsPay(x, 1 << 15, 8, 1 << 15));
  EXPECT_FALSE(SplitProductsPay(x.to(at::kDouble), 1 << 12, 1 << 12, 1 << 12));
  EXPECT_FALSE(SplitProductsPay(x.to(at::kBFloat16), 1 << 12, 1 << 12, 1 << 12));
}

}  // namespace
}  // namespace genview
