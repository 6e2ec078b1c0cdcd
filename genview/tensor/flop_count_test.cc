#include "genview/tensor/flop_count.h"

#include <gtest/gtest.h>

namespace genview {
namespace {

TEST(CountFlops, CountsProductsAndConvolutionsBothWays) {
  const Tensor x = at::ones({2, 3, 8, 8}), a = at::ones({5, 7}), b = at::ones({7, 11});
  const Tensor weight = at::ones({4, 3, 3, 3}).set_requires_grad(true);
  const double convolution = 2.0 * (4 * 3 * 3 * 3) * (2 * 8 * 8);
  EXPECT_EQ(CountFlops([&] { at::mm(a, b); }), 2.0 * 5 * 7 * 11);
  EXPECT_EQ(CountFlops([&] { at::linear(a, b.t(), at::ones({11})); }), 2.0 * 5 * 7 * 11);
  EXPECT_EQ(CountFlops([&] { at::conv2d(x, weight, {}, 1, 1); }), convolution);
  // The input wants no gradient, so the way back is one more of the same size.
  EXPECT_EQ(CountFlops([&] { at::conv2d(x, weight, {}, 1, 1).sum().backward(); }), 2 * convolution);
}

// Two products forward (scores, and those times the values), five backward: the scores once more, and for each of the
// two products both of its gradients.
TEST(CountFlops, CountsFusedAttentionBothWays) {
  const double product = 2.0 * 2 * 3 * 16 * 16 * 8;
  const auto attend = [](const Tensor& q) { return at::scaled_dot_product_attention(q, q, q); };
  const Tensor q = at::randn({2, 3, 16, 8});
  EXPECT_EQ(CountFlops([&] { attend(q); }), 2 * product);
  const Tensor trained = at::randn({2, 3, 16, 8}).requires_grad_();
  EXPECT_EQ(CountFlops([&] { attend(trained).sum().backward(); }), (2 + 5) * product);
}

}  // namespace
}  // namespace genview
