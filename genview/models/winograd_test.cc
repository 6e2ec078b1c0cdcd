#include "genview/models/winograd.h"

#include <gtest/gtest.h>

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "genview/models/weight_list.h"
#include "genview/tensor/split_products.h"

namespace genview {
namespace {

ConvWeights RandomConv(int64_t in, int64_t out, Seed seed) {
  const Tensor weight = NormalTensor(seed.With("weight"), {out, in, 3, 3}).contiguous(at::MemoryFormat::ChannelsLast);
  return {weight, NormalTensor(seed.With("bias"), {out})};
}

Tensor RandomMap(at::IntArrayRef shape) {
  return NormalTensor(Seed(3), shape).contiguous(at::MemoryFormat::ChannelsLast);
}

// In fp64, so that it is the truth.
Tensor Plain(const ConvWeights& w, const Tensor& x, int64_t enlarge) {
  const Tensor large = x.to(at::kDouble).repeat_interleave(enlarge, 2).repeat_interleave(enlarge, 3);
  return at::conv2d(large, w.weight.to(at::kDouble), w.bias.defined() ? w.bias.to(at::kDouble) : Tensor(), 1, 1);
}

double Apart(const Tensor& got, const Tensor& wanted) {
  return ((got.to(at::kDouble) - wanted).abs().max() / wanted.abs().max()).item<double>();
}

// Of large products on processors that multiply bf16 fastest, and of fp32.
double Exactness(const Tensor& x, int64_t outs, int64_t enlarge) {
  const int64_t tiles = (x.size(2) * enlarge + 1) / 2 * ((x.size(3) * enlarge + 1) / 2) * x.size(0);
  return SplitProductsPay(x, 16 * tiles, outs, x.size(1)) ? 3e-5 : 2e-6;
}

TEST(Winograd, GivesThePlainConvolution) {
  const c10::InferenceMode guard;
  struct Case {
    int64_t n, in, out, height, width, enlarge;
  };
  // Odd sizes, one row, several tasks, more outputs than are transformed at once, enlarged ones.
  for (const Case& c : {Case{1, 16, 32, 8, 8, 1},
                        {2, 32, 16, 7, 9, 1},
                        {1, 16, 16, 1, 5, 1},
                        {3, 48, 16, 33, 35, 1},
                        {1, 1024, 288, 4, 6, 1},
                        {2, 16, 32, 17, 5, 2},
                        {2, 64, 176, 31, 40, 1}}) {
    const ConvWeights w = RandomConv(c.in, c.out, Seed(1));
    const Tensor x = RandomMap({c.n, c.in, c.height, c.width}), y = WinogradConv(w, x, c.enlarge),
                 wanted = Plain(w, x, c.enlarge);
    ASSERT_EQ(y.sizes(), wanted.sizes());
    EXPECT_TRUE(y.is_contiguous(at::MemoryFormat::ChannelsLast));
    EXPECT_LT(Apart(y, wanted), Exactness(x, c.out, c.enlarge))
        << c.in << " to " << c.out << ", " << c.height << " x " << c.width;
  }
}

TEST(Winograd, BiasMayBeMissingAndWeightsMayHave16Bits) {
  const c10::InferenceMode guard;
  ConvWeights w = RandomConv(16, 16, Seed(2));
  const Tensor x = RandomMap({1, 16, 10, 10});
  for (const at::ScalarType type : {at::kHalf, at::kBFloat16}) {
    const ConvWeights narrow{w.weight.to(type), w.bias}, wide{narrow.weight.to(at::kFloat), w.bias};
    EXPECT_TRUE(at::equal(WinogradConv(narrow, x, 1), WinogradConv(wide, x, 1)));
  }
  w.bias = Tensor();
  EXPECT_LT(Apart(WinogradConv(w, x, 1), Plain(w, x, 1)), 2e-6);
}

TEST(Winograd, ThreadsChangeNoByte) {
  const c10::InferenceMode guard;
  const ConvWeights w = RandomConv(320, 640, Seed(4));
  const Tensor x = RandomMap({2, 320, 24, 40});
  const int before = at::get_num_threads();
  std::vector<Tensor> results;
  for (const int threads : {1, 2, 5}) {
    at::set_num_threads(threads);
    results.push_back(WinogradConv(w, x, 1));
  }
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(results[0], results[1]));
  EXPECT_TRUE(at::equal(results[0], results[2]));
}

TEST(Winograd, IsTakenWhereItFitsAlone) {
  const Tensor large = RandomMap({1, 16, 32, 32});
  const ConvWeights w = RandomConv(16, 16, Seed(5));
  EXPECT_FALSE(WinogradFits(w, large, 1));  // gradients are on
  const c10::InferenceMode guard;
  EXPECT_TRUE(WinogradFits(w, large, 1));
  EXPECT_FALSE(WinogradFits(w, RandomMap({1, 16, 16, 16}), 1));
  EXPECT_TRUE(WinogradFits(w, RandomMap({1, 16, 16, 16}), 2));
  EXPECT_FALSE(WinogradFits(w, large.to(at::kBFloat16), 1));
  EXPECT_FALSE(WinogradFits(w, large.contiguous(), 1));
  EXPECT_FALSE(WinogradFits(RandomConv(16, 3, Seed(6)), large, 1));
  EXPECT_FALSE(WinogradFits(RandomConv(24, 16, Seed(7)), RandomMap({1, 24, 32, 32}), 1));
}

}  // namespace
}  // namespace genview
