#include "genview/tensor/packed_matrix.h"

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

namespace genview {
namespace {

class PackedMatrix : public testing::Test {
 protected:
  void SetUp() override {
    if (!PackingPays(at::kCPU, at::kBFloat16)) GTEST_SKIP() << "this processor has no matrix unit for bf16";
  }
  static Tensor Normal(uint64_t seed, at::IntArrayRef shape) {
    return NormalTensor(Seed(seed), shape).to(at::kBFloat16);
  }
  const c10::InferenceMode guard_;
};

// bf16 keeps 8 binary digits: both are within half a unit in the last place of the exact number.
void ExpectRounded(const Tensor& got, const Tensor& exact) {
  ASSERT_EQ(got.scalar_type(), at::kBFloat16);
  ASSERT_EQ(got.sizes(), exact.sizes());
  const Tensor away = (got.to(at::kDouble) - exact).abs();
  EXPECT_TRUE((away <= exact.abs() / 256 + 1e-4).all().item<bool>()) << away.max();
}

Tensor Exact(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Tensor y = at::matmul(x.to(at::kDouble), weight.to(at::kDouble).t());
  return bias.defined() ? y + bias.to(at::kDouble) : y;
}

TEST_F(PackedMatrix, GivesTheProductRoundedOnce) {
  struct Case {
    std::vector<int64_t> x;
    int64_t outs;
  };
  for (const Case& c : {Case{{1, 1}, 1}, {{3, 5}, 7}, {{257, 64}, 192}, {{2, 9, 40}, 33}, {{2, 3, 4, 32}, 48}}) {
    const Tensor x = Normal(1, c.x), weight = Normal(2, {c.outs, c.x.back()}), bias = Normal(3, {c.outs});
    const Tensor packed = PackMatrix(weight);
    EXPECT_TRUE(packed.is_mkldnn());
    EXPECT_EQ(packed.sizes(), weight.sizes());
    EXPECT_EQ(packed.scalar_type(), at::kBFloat16);
    ExpectRounded(PackedLinear(x, packed, {}), Exact(x, weight, {}));
    ExpectRounded(PackedLinear(x, packed, bias), Exact(x, weight, bias));
    ExpectRounded(PackedLinear(x.to(at::kFloat), packed, bias.to(at::kFloat)), Exact(x, weight, bias));
  }
}

TEST_F(PackedMatrix, ActivatesBeforeItRounds) {
  const Tensor x = Normal(1, {65, 32}), weight = Normal(2, {48, 32}), bias = Normal(3, {48}),
               packed = PackMatrix(weight), exact = Exact(x, weight, bias);
  ExpectRounded(PackedLinear(x, packed, bias, AfterProduct::kGelu), at::gelu(exact));
  ExpectRounded(PackedLinear(x, packed, bias, AfterProduct::kGeluTanh), at::gelu(exact, "tanh"));
}

TEST_F(PackedMatrix, FactorsMayLieInAnyOrder) {
  const Tensor x = Normal(1, {32, 20}), weight = Normal(2, {32, 48});
  EXPECT_TRUE(at::equal(PackedLinear(x.t(), PackMatrix(weight.t()), {}),
                        PackedLinear(x.t().contiguous(), PackMatrix(weight.t().contiguous()), {})));
}

TEST(PackingPays, ForBf16OnTheProcessorAlone) {
  EXPECT_FALSE(PackingPays(at::kCPU, at::kFloat));
  EXPECT_FALSE(PackingPays(at::kCPU, at::kHalf));
  EXPECT_FALSE(PackingPays(at::Device(at::kCUDA, 0), at::kBFloat16));
}

}  // namespace
}  // namespace genview
