#include "genview/tensor/flop_count.h"

#include <gtest/gtest.h>

namespace genview {
namespace {

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
