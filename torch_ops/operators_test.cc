// The operators as PyTorch finds them: by name, through the dispatcher.
#include <ATen/core/dispatch/Dispatcher.h>
#include <gtest/gtest.h>

#include <cmath>

#include "genview/foreground/quality.h"
#include "genview/ssl/losses.h"
#include "genview/tensor/tensor.h"

namespace genview {
namespace {

template <class... Values>
Tensor Call(const char* name, Values... values) {
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
  torch::jit::Stack stack;
  (stack.emplace_back(values), ...);
  op.callBoxed(stack);
  return stack.at(0).toTensor();
}

Tensor Random2(const char* name, int64_t rows, int64_t width) {
  return NormalTensor(Seed(5).With(name), {rows, width}).to(at::kDouble).requires_grad_();
}

// The slope along a random direction by finite differences, and by the gradients.
template <class Loss>
void ExpectGradients(const std::vector<Tensor>& inputs, Loss loss) {
  const Tensor factor = NormalTensor(Seed(6), {loss().numel()}).to(at::kDouble);
  for (const Tensor& input : inputs) input.mutable_grad() = Tensor();
  (loss().flatten() * factor).sum().backward();
  for (const Tensor& input : inputs) {
    const Tensor direction = NormalTensor(Seed(7), input.sizes()).to(at::kDouble);
    const double analytic = (input.grad() * direction).sum().item<double>();
    constexpr double kStep = 1e-6;
    const auto at_offset = [&](double offset) {
      const c10::AutoGradMode off(false);
      input.add_(direction, offset);
      const double value = (loss().flatten() * factor).sum().template item<double>();
      input.sub_(direction, offset);
      return value;
    };
    EXPECT_NEAR(analytic, (at_offset(kStep) - at_offset(-kStep)) / (2 * kStep), 1e-6 * (1 + std::abs(analytic)));
  }
}

TEST(Operators, LossesAreTheLibrarysWithGradients) {
  const Tensor a = Random2("a", 5, 4), b = Random2("b", 5, 4), c = Random2("c", 5, 4), d = Random2("d", 5, 4);
  const Tensor queue = UnitRows(Random2("queue", 7, 4)).t().detach();
  EXPECT_TRUE(at::equal(Call("genview::info_nce", a, b, queue, 0.2), InfoNce(a, b, queue, 0.2)));
  EXPECT_TRUE(at::equal(Call("genview::nt_xent", a, b, 0.5), NtXent(a, b, 0.5)));
  EXPECT_TRUE(at::equal(Call("genview::negative_cosine", a, b), NegativeCosine(a, b)));
  EXPECT_TRUE(at::equal(Call("genview::swapped_prediction", a, b, 0.1, 0.05, int64_t{3}),
                        SwappedPrediction(a, b, 0.1, 0.05, 3)));
  EXPECT_TRUE(at::equal(Call("genview::moco_v3", a, b, c, d, 0.2), MocoV3Loss(a, b, c, d, 0.2)));
  ExpectGradients({a, b}, [&] { return Call("genview::info_nce", a, b, queue, 0.2); });
  ExpectGradients({a, b}, [&] { return Call("genview::nt_xent", a, b, 0.5); });
  ExpectGradients({a, b}, [&] { return Call("genview::negative_cosine", a, b); });
  ExpectGradients({a, b, c, d}, [&] { return Call("genview::moco_v3", a, b, c, d, 0.2); });
  EXPECT_EQ(Call("genview::swapped_prediction", a, b, 0.1, 0.05, int64_t{3}).sizes(), (at::IntArrayRef{5}));
}

TEST(Operators, MapsAndWeights) {
  const Tensor one = NormalTensor(Seed(8), {3, 4, 2, 5}), two = NormalTensor(Seed(9), {3, 4, 2, 5}),
               v = NormalTensor(Seed(10), {4});
  EXPECT_TRUE(at::allclose(Call("genview::foreground_map", one, v), ForegroundMap(one, v), 1e-6, 1e-7));
  const Tensor weights = Call("genview::pair_quality", one, two, v, 1.0);
  const auto tokens = [](const Tensor& x) { return x.flatten(2).transpose(1, 2); };
  EXPECT_TRUE(at::equal(weights, PairQuality(tokens(one), tokens(two), v, 1.0)));
  EXPECT_TRUE(at::equal(weights, Call("genview::pair_quality", tokens(one), tokens(two), v, 1.0)));
  EXPECT_NEAR(weights.mean().item<double>(), 1, 1e-6);

  const Tensor x = one.to(at::kDouble).requires_grad_(), w = v.to(at::kDouble).requires_grad_();
  ExpectGradients({x, w}, [&] { return Call("genview::foreground_map", x, w); });
  EXPECT_FALSE(Call("genview::pair_quality", x, two.to(at::kDouble), w, 1.0).requires_grad());
}

TEST(Operators, MetaTensorsHaveShapesAlone) {
  const auto meta = at::TensorOptions().device(at::kMeta);
  const Tensor z = at::empty({6, 8}, meta), maps = at::empty({6, 8, 3, 3}, meta), v = at::empty({8}, meta);
  for (const Tensor& out :
       {Call("genview::nt_xent", z, z, 0.5), Call("genview::info_nce", z, z, at::empty({8, 4}, meta), 0.2),
        Call("genview::negative_cosine", z, z), Call("genview::swapped_prediction", z, z, 0.1, 0.05, int64_t{3}),
        Call("genview::moco_v3", z, z, z, z, 0.2), Call("genview::pair_quality", maps, maps, v, 1.0)}) {
    EXPECT_EQ(out.sizes(), (at::IntArrayRef{6}));
    EXPECT_TRUE(out.is_meta());
  }
  EXPECT_EQ(Call("genview::foreground_map", maps, v).sizes(), (at::IntArrayRef{6, 3, 3}));
}

TEST(Operators, ParametersThatMeanNothingAreRefused) {
  const Tensor z = NormalTensor(Seed(11), {6, 8});
  for (const double bad : {0.0, -0.1, std::nan(""), HUGE_VAL}) {
    EXPECT_ANY_THROW(Call("genview::nt_xent", z, z, bad)) << bad;
    EXPECT_ANY_THROW(Call("genview::info_nce", z, z, z.t(), bad)) << bad;
    EXPECT_ANY_THROW(Call("genview::moco_v3", z, z, z, z, bad)) << bad;
    EXPECT_ANY_THROW(Call("genview::swapped_prediction", z, z, bad, 0.05, int64_t{3})) << bad;
    EXPECT_ANY_THROW(Call("genview::swapped_prediction", z, z, 0.1, bad, int64_t{3})) << bad;
  }
  EXPECT_ANY_THROW(Call("genview::swapped_prediction", z, z, 0.1, 0.05, int64_t{-1}));
  EXPECT_ANY_THROW(Call("genview::foreground_map", at::zeros({1, 8, 0, 0}), at::zeros({8})));
  const Tensor maps = at::rand({2, 8, 2, 2}), component = at::rand({8}), none = at::rand({2, 8, 0, 2});
  EXPECT_ANY_THROW(Call("genview::foreground_map", maps.to(at::kLong), component));
  EXPECT_ANY_THROW(Call("genview::foreground_map", maps, component.to(at::kLong)));
  EXPECT_ANY_THROW(Call("genview::pair_quality", maps, maps, component.to(at::kLong), 1.0));
  EXPECT_ANY_THROW(Call("genview::pair_quality", none, none, component, 1.0));
  for (const double bad : {std::nan(""), HUGE_VAL})
    EXPECT_ANY_THROW(Call("genview::pair_quality", maps, maps, component, bad)) << bad;
  EXPECT_ANY_THROW(Call("genview::swapped_prediction", z.to(at::kLong), z.to(at::kLong), 0.1, 0.05, int64_t{3}));
  const auto complaint = [](const char* name, auto... values) -> std::string {
    try {
      Call(name, values...);
    } catch (const c10::Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(
      complaint("genview::info_nce", z, z, z.t().to(at::kDouble), 0.2).find("queue is of type Double, q of type Float"),
      std::string::npos);
  EXPECT_NE(complaint("genview::negative_cosine", z.to(at::kLong), z).find("p is of type Long"), std::string::npos);
  EXPECT_NE(complaint("genview::negative_cosine", z, z.to(at::kDouble)).find("z is of type Double, p of type Float"),
            std::string::npos);
  EXPECT_NO_THROW(Call("genview::nt_xent", z, z.to(at::kBFloat16), 0.2));
  const Tensor map = at::ones({2, 3, 2, 2}), wide = at::ones({2, 3, 2, 4});
  EXPECT_NE(
      complaint("genview::pair_quality", map, wide, at::ones({3}), 1.0).find("features2 has the shape [2, 3, 2, 4]"),
      std::string::npos);
}

TEST(Operators, WrongShapesAreNamed) {
  const Tensor z = at::zeros({6, 8});
  EXPECT_ANY_THROW(Call("genview::nt_xent", z, at::zeros({5, 8}), 0.5));
  EXPECT_ANY_THROW(Call("genview::pair_quality", z, z, at::zeros({8}), 1.0));
  EXPECT_ANY_THROW(Call("genview::foreground_map", at::zeros({1, 7, 2, 2}), at::zeros({8})));
}

}  // namespace
}  // namespace genview
