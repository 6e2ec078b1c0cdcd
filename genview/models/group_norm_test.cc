#include "genview/models/group_norm.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "genview/models/group_norm_kernels.h"

namespace genview {
namespace {

struct Case {
  int64_t n, c, h, w, groups;
};
constexpr Case kCases[] = {{2, 8, 3, 5, 4},  {1, 6, 1, 1, 2},   {3, 32, 24, 30, 32},
                           {2, 48, 9, 7, 1}, {1, 4, 40, 33, 2}, {2, 20, 4, 4, 5}};

NormWeights Weights(int64_t c) { return {NormalTensor(Seed(1), {c}) + 1, NormalTensor(Seed(2), {c})}; }

Tensor Pictures(const Case& one, double offset = 0) {
  return (NormalTensor(Seed(3), {one.n, one.c, one.h, one.w}) * 2 + offset).contiguous(at::MemoryFormat::ChannelsLast);
}

// The same in LibTorch's own steps, in fp64.
Tensor Plain(const NormWeights& w, const Tensor& x, int64_t groups, bool silu) {
  const Tensor y = at::group_norm(x, groups, w.weight, w.bias, 1e-5);
  return silu ? at::silu(y) : y;
}

TEST(GroupNormThen, EqualsTheTwoSteps) {
  for (const Case& one : kCases) {
    for (const bool silu : {false, true}) {
      for (const double offset : {0.0, 50.0}) {  // statistics of large numbers that differ little
        const NormWeights w = Weights(one.c);
        const Tensor x = Pictures(one, offset);
        const Tensor got = GroupNormThen(silu ? AfterNorm::kSilu : AfterNorm::kNothing, w, x, one.groups, 1e-5);
        const Tensor wanted =
            Plain({w.weight.to(at::kDouble), w.bias.to(at::kDouble)}, x.to(at::kDouble), one.groups, silu);
        EXPECT_LE((got.to(at::kDouble) - wanted).abs().max().item<double>(), offset == 0 ? 3e-6 : 1e-4)
            << one.c << " " << silu;
        EXPECT_TRUE(got.is_contiguous(at::MemoryFormat::ChannelsLast));
      }
    }
  }
}

TEST(GroupNormThen, TakesTheMemoryOfWhatIsGivenAwayAndOfNothingElse) {
  const c10::InferenceMode guard;
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const Case& one : kCases) {
      const NormWeights w = Weights(one.c);
      Tensor x = Pictures(one).to(type);
      const Tensor before = x.clone(), kept = GroupNormThen(AfterNorm::kSilu, w, x, one.groups, 1e-5);
      EXPECT_TRUE(at::equal(x, before));
      EXPECT_NE(GroupNormThen(AfterNorm::kSilu, w, x.slice(0, 0), one.groups, 1e-5).const_data_ptr(),
                x.const_data_ptr());
      Tensor alone = x.clone();
      const void* memory = alone.const_data_ptr();
      const Tensor moved = GroupNormThen(AfterNorm::kSilu, w, std::move(alone), one.groups, 1e-5);
      EXPECT_EQ(moved.const_data_ptr(), memory);
      EXPECT_TRUE(at::equal(moved, kept));
    }
  }
}

TEST(GroupNormThen, GradientsEqualTheTwoSteps) {
  for (const Case& one : kCases) {
    for (const bool silu : {false, true}) {
      NormWeights w = Weights(one.c);
      Tensor x = Pictures(one, 1);
      const Tensor dy = NormalTensor(Seed(4), x.sizes());
      NormWeights exact{w.weight.to(at::kDouble).set_requires_grad(true),
                        w.bias.to(at::kDouble).set_requires_grad(true)};
      Tensor exact_x = x.to(at::kDouble).set_requires_grad(true);
      (Plain(exact, exact_x, one.groups, silu) * dy).sum().backward();
      for (Tensor* leaf : {&w.weight, &w.bias, &x}) leaf->set_requires_grad(true);
      (GroupNormThen(silu ? AfterNorm::kSilu : AfterNorm::kNothing, w, x, one.groups, 1e-5) * dy).sum().backward();
      const auto close = [&](const Tensor& got, const Tensor& wanted, const char* name) {
        EXPECT_LE((got.to(at::kDouble) - wanted).abs().max().item<double>(),
                  1e-5 * std::max(1.0, wanted.abs().max().item<double>()))
            << name << " " << one.c;
      };
      close(x.grad(), exact_x.grad(), "x");
      close(w.weight.grad(), exact.weight.grad(), "weight");
      close(w.bias.grad(), exact.bias.grad(), "bias");
    }
  }
}

TEST(GroupNormThen, HalfPrecisionKeepsFp32Inside) {
  for (const Case& one : kCases) {
    const NormWeights w = Weights(one.c);
    Tensor x = Pictures(one).to(at::kBFloat16);
    const Tensor wanted = Plain(w, x.to(at::kFloat), one.groups, true);
    const Tensor got = GroupNormThen(AfterNorm::kSilu, w, x, one.groups, 1e-5);
    ASSERT_EQ(got.scalar_type(), at::kBFloat16);
    EXPECT_TRUE(at::equal(got, wanted.to(at::kBFloat16)) ||
                (got.to(at::kFloat) - wanted).abs().max().item<float>() < 0.02);
    NormWeights learning{w.weight.clone().set_requires_grad(true), w.bias.clone().set_requires_grad(true)};
    Tensor exact_x = x.to(at::kFloat).set_requires_grad(true);
    Plain(w, exact_x, one.groups, true).square().sum().backward();
    x.set_requires_grad(true);
    GroupNormThen(AfterNorm::kSilu, learning, x, one.groups, 1e-5).to(at::kFloat).square().sum().backward();
    EXPECT_LE((x.grad().to(at::kFloat) - exact_x.grad()).abs().max().item<float>(),
              0.03 * std::max(1.0f, exact_x.grad().abs().max().item<float>()));
    EXPECT_EQ(learning.weight.grad().scalar_type(), at::kFloat);
  }
}

TEST(GroupNormThen, ThreadsChangeNoBit) {
  const NormWeights w = Weights(32);
  const Tensor x = Pictures({1, 32, 60, 60, 8});
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Tensor one = GroupNormThen(AfterNorm::kSilu, w, x, 8, 1e-5);
  at::set_num_threads(3);
  const Tensor three = GroupNormThen(AfterNorm::kSilu, w, x, 8, 1e-5);
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(one, three));
}

TEST(GroupNormThen, NotANumberStaysInItsRow) {
  const NormWeights w = Weights(8);
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    Tensor x = Pictures({2, 8, 4, 4, 2}).to(type);
    x[1][3][2][2] = NAN;
    const Tensor y = GroupNormThen(AfterNorm::kSilu, w, x, 2, 1e-5);
    EXPECT_TRUE(at::isfinite(y[0]).all().item<bool>());
    EXPECT_TRUE(at::isnan(y[1].slice(0, 0, 4)).all().item<bool>());  // the group
    EXPECT_TRUE(at::isfinite(y[1].slice(0, 4)).all().item<bool>());
  }
}

TEST(GroupNormThen, OtherFormsTakeLibTorchsRoad) {
  const NormWeights w = Weights(8);
  const Tensor x = NormalTensor(Seed(3), {2, 8, 4, 4});  // channels first
  EXPECT_TRUE(at::equal(GroupNormThen(AfterNorm::kSilu, w, x, 2, 1e-5), Plain(w, x, 2, true)));
}

TEST(GroupNormKernels, ExpIsExactToTwoUnits) {
  double worst = 0;
  for (double x = -87; x <= 88; x += 0.00713) {
    const auto argument = static_cast<float>(x);
    const double wanted = std::exp(static_cast<double>(argument));
    worst = std::max(worst, std::abs(static_cast<double>(group_norm::Exp(argument)) / wanted - 1));
  }
  EXPECT_LE(worst, 2.4e-7);
  EXPECT_EQ(group_norm::Exp(0), 1);
  EXPECT_TRUE(std::isnan(group_norm::Exp(NAN)));
}

}  // namespace
}  // namespace genview
