#include "genview/models/batch_norm.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

namespace genview {
namespace {

struct Case {
  int64_t n, c, h, w;
};
constexpr Case kCases[] = {{2, 8, 3, 5}, {3, 300, 2, 2}, {4, 20, 24, 30}, {2, 1, 9, 7}, {3, 16, 21, 20}};

Tensor Pictures(const Case& one, uint64_t seed, double offset = 0) {
  return (NormalTensor(Seed(seed), {one.n, one.c, one.h, one.w}) * 2 + offset)
      .contiguous(at::MemoryFormat::ChannelsLast);
}

BatchNormWeights Weights(int64_t c, at::ScalarType type = at::kFloat) {
  return {(NormalTensor(Seed(1), {c}) + 1).to(type), NormalTensor(Seed(2), {c}).to(type),
          NormalTensor(Seed(5), {c}).to(type), NormalTensor(Seed(6), {c}).abs().add_(0.5).to(type),
          at::zeros({}, at::kLong)};
}

// LibTorch's operations one after the other.
Tensor Plain(const BatchNormWeights& w, const Tensor& x, bool training, const Tensor& skip, bool relu) {
  Tensor y = BatchNorm(w, x, training);
  if (skip.defined()) y = y + skip;
  return relu ? at::relu(y) : y;
}

double Away(const Tensor& got, const Tensor& wanted) {
  return (got.to(at::kDouble) - wanted.to(at::kDouble)).abs().max().item<double>() /
         std::max(1.0, wanted.abs().max().item<double>());
}

AfterBatchNorm Act(bool relu) { return relu ? AfterBatchNorm::kRelu : AfterBatchNorm::kNothing; }

TEST(BatchNormThen, EqualsTheStepsInBothModes) {
  for (const Case& one : kCases) {
    for (const int kind : {0, 1, 2, 3, 4, 5, 6, 7}) {
      const bool relu = (kind & 1) != 0, training = (kind & 2) != 0, with_skip = (kind & 4) != 0;
      for (const double offset : {0.0, 50.0}) {  // statistics of large numbers that differ little
        const Tensor x = Pictures(one, 3, offset), skip = with_skip ? Pictures(one, 4) : Tensor();
        const BatchNormWeights own = Weights(one.c), exact = Weights(one.c, at::kDouble);
        const Tensor got = BatchNormThen(Act(relu), own, x, training, skip);
        const Tensor wanted =
            Plain(exact, x.to(at::kDouble), training, with_skip ? skip.to(at::kDouble) : Tensor(), relu);
        EXPECT_LE(Away(got, wanted), offset == 0 ? 1e-6 : 2e-6) << one.c << " " << kind;
        EXPECT_TRUE(got.is_contiguous(at::MemoryFormat::ChannelsLast));
        EXPECT_LE(Away(own.running_mean, exact.running_mean), 1e-6);
        EXPECT_LE(Away(own.running_var, exact.running_var), 1e-6);
        EXPECT_EQ(own.num_batches_tracked.item<int64_t>(), training ? 1 : 0);
      }
    }
  }
}

TEST(BatchNormThen, GradientsEqualTheSteps) {
  for (const Case& one : kCases) {
    for (const int kind : {0, 1, 2, 3}) {
      const bool relu = (kind & 1) != 0, with_skip = (kind & 2) != 0;
      const Tensor dy = NormalTensor(Seed(7), {one.n, one.c, one.h, one.w});  // as it comes, channels first
      const auto gradients = [&](at::ScalarType type, bool fused) {
        BatchNormWeights w = Weights(one.c, type);
        Tensor x = Pictures(one, 3, 1).to(type), skip = with_skip ? Pictures(one, 4).to(type) : Tensor();
        std::vector<Tensor> leaves{x, w.weight, w.bias};
        if (with_skip) leaves.push_back(skip);
        for (Tensor& leaf : leaves) leaf.set_requires_grad(true);
        const Tensor y = fused ? BatchNormThen(Act(relu), w, x, true, skip) : Plain(w, x, true, skip, relu);
        (y * dy.to(type)).sum().backward();
        std::vector<Tensor> found;
        for (const Tensor& leaf : leaves) found.push_back(leaf.grad());
        return found;
      };
      const auto got = gradients(at::kFloat, true), wanted = gradients(at::kDouble, false);
      for (size_t i = 0; i < got.size(); ++i)
        EXPECT_LE(Away(got[i], wanted[i]), 1e-5) << one.c << " " << kind << " " << i;
    }
  }
}

TEST(BatchNormThen, Bf16KeepsFp32Inside) {
  for (const bool with_skip : {false, true}) {
    const Case one{4, 40, 12, 10};
    Tensor x = Pictures(one, 3).to(at::kBFloat16);
    const Tensor skip = with_skip ? Pictures(one, 4).to(at::kBFloat16) : Tensor();
    Tensor exact_x = x.to(at::kFloat).set_requires_grad(true);
    const Tensor exact = Plain(Weights(one.c), exact_x, true, with_skip ? skip.to(at::kFloat) : Tensor(), true);
    x.set_requires_grad(true);
    BatchNormWeights w = Weights(one.c);
    w.weight.set_requires_grad(true);
    const Tensor y = BatchNormThen(AfterBatchNorm::kRelu, w, x, true, skip);
    ASSERT_EQ(y.scalar_type(), at::kBFloat16);
    EXPECT_LE(Away(y, exact), 1.0 / 256);
    exact.square().sum().backward();
    y.to(at::kFloat).square().sum().backward();
    EXPECT_LE(Away(x.grad(), exact_x.grad()), 0.03);
    EXPECT_EQ(w.weight.grad().scalar_type(), at::kFloat);
  }
}

TEST(BatchNormThen, ThreadsChangeNoBit) {
  const int before = at::get_num_threads();
  std::vector<std::vector<Tensor>> all;
  for (const int threads : {1, 2, 5}) {
    at::set_num_threads(threads);
    BatchNormWeights w = Weights(24);
    w.weight.set_requires_grad(true);
    Tensor x = Pictures({5, 24, 30, 30}, 3).set_requires_grad(true);
    const Tensor y = BatchNormThen(AfterBatchNorm::kRelu, w, x, true, Pictures({5, 24, 30, 30}, 4));
    y.square().sum().backward();
    all.push_back({y.detach(), x.grad(), w.weight.grad(), w.running_var});
  }
  at::set_num_threads(before);
  for (size_t i = 0; i < all[0].size(); ++i) {
    EXPECT_TRUE(at::equal(all[0][i], all[1][i])) << i;
    EXPECT_TRUE(at::equal(all[0][i], all[2][i])) << i;
  }
}

TEST(BatchNormThen, NotANumberIsSeen) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    Tensor x = Pictures({2, 8, 4, 4}, 3).to(type);
    x[1][3][2][2] = NAN;
    const Tensor y = BatchNormThen(AfterBatchNorm::kRelu, Weights(8), x, true);
    EXPECT_TRUE(at::isnan(y.select(1, 3)).all().item<bool>());
    EXPECT_TRUE(at::isfinite(y.slice(1, 4)).all().item<bool>());
  }
}

TEST(BatchNormThen, OtherFormsTakeLibTorchsRoad) {
  const Tensor x = NormalTensor(Seed(3), {2, 8, 4, 4});  // channels first
  EXPECT_TRUE(
      at::equal(BatchNormThen(AfterBatchNorm::kRelu, Weights(8), x, true), Plain(Weights(8), x, true, {}, true)));
}

}  // namespace
}  // namespace genview
