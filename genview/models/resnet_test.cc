#include "genview/models/resnet.h"

#include <gtest/gtest.h>

#include <cmath>

#include "genview/base/error.h"

namespace genview {
namespace {

// Published counts with the classifier of 1000 classes: 11,689,512, 21,797,672 and 25,557,032.
TEST(Resnet, HasTorchvisionsParametersAndTensors) {
  const int64_t depths[] = {18, 34, 50}, parameters[] = {11689512, 21797672, 25557032}, tensors[] = {122, 218, 320};
  for (size_t i = 0; i < 3; ++i) {
    Resnet net = MakeResnet({.depth = depths[i]});
    const int64_t classifier = net.config.output_width() * 1000 + 1000;
    EXPECT_EQ(CountParameters(ListWeights(net)) + classifier, parameters[i]);
    EXPECT_EQ(static_cast<int64_t>(ListWeights(net).size()) + 2, tensors[i]);
  }
}

TEST(Resnet, OtherDepthsAreRefused) { EXPECT_THROW(MakeResnet({.depth = 20}), UsageError); }

TEST(Resnet, StemsDivideTheSizeAsTheyShould) {
  for (const bool small : {false, true}) {
    Resnet net = MakeResnet({.depth = 18, .width = 1.0 / 32, .small_stem = small});
    InitResnet(net, Seed(0));
    const ResnetOutput out = ForwardResnet(net, NormalTensor(Seed(1), {2, 3, 64, 64}), false);
    EXPECT_EQ(out.map.sizes(), (at::IntArrayRef{2, 16, small ? 8 : 2, small ? 8 : 2}));
    EXPECT_EQ(out.pooled.sizes(), (at::IntArrayRef{2, net.config.output_width()}));
  }
}

// solo-learn's networks for CIFAR are torchvision's with a conv1 of 3 x 3 and padding 2. That is a padding of 1 around
// a picture with a black rim, whatever comes after it.
TEST(Resnet, AStemPaddedByTwoSeesARimOfZeros) {
  Resnet padded = MakeResnet({.depth = 18, .width = 0.125, .small_stem = true, .stem_padding = 2}),
         plain = MakeResnet({.depth = 18, .width = 0.125, .small_stem = true});
  InitResnet(padded, Seed(0));
  InitResnet(plain, Seed(0));
  for (Resnet* net : {&padded, &plain}) ConvertWeights(ListWeights(*net), at::kDouble);
  const Tensor x = NormalTensor(Seed(1), {2, 3, 32, 32}).to(at::kDouble);
  const Tensor columns = at::im2col(x, {3, 3}, /*dilation=*/{1, 1}, /*padding=*/{2, 2}, /*stride=*/{1, 1});
  const Tensor stem = at::matmul(padded.stem.weight.flatten(1), columns).reshape({2, 8, 34, 34});  // the sums by hand
  EXPECT_TRUE(at::allclose(stem, Conv(padded.stem, x, 1, 2)));
  for (const bool training : {false, true}) {
    const ResnetOutput out = ForwardResnet(padded, x, training);
    EXPECT_EQ(out.map.sizes(), (at::IntArrayRef{2, 64, 5, 5}));  // 34, 17, 9, 5; without the rim 4
    const ResnetOutput rim = ForwardResnet(plain, at::constant_pad_nd(x, {1, 1, 1, 1}), training);
    EXPECT_TRUE(at::allclose(out.map, rim.map));
    EXPECT_TRUE(at::allclose(out.pooled, rim.pooled));
  }
}

TEST(Resnet, OnlyTheSmallStemHasAPaddingToChoose) {
  EXPECT_THROW(MakeResnet({.depth = 18, .stem_padding = 2}), UsageError);
  EXPECT_THROW(MakeResnet({.depth = 18, .small_stem = true, .stem_padding = 3}), UsageError);
  EXPECT_THROW(MakeResnet({.depth = 18, .small_stem = true, .stem_padding = 0}), UsageError);
}

TEST(Resnet, InitHasTheSpreadOfTheFanOut) {
  Resnet net = MakeResnet({.depth = 18});
  InitResnet(net, Seed(0));
  const Tensor& weight = net.stages[1][0].convs[1].weight;  // [128,128,3,3]
  EXPECT_NEAR(weight.std().item<double>(), std::sqrt(2.0 / (128 * 9)), 5e-4);
  EXPECT_EQ(net.stem_norm.weight.min().item<float>(), 1);
}

TEST(Resnet, ZeroInitMakesBlocksTheIdentity) {
  Resnet net = MakeResnet({.depth = 50, .width = 1.0 / 32, .zero_init_residual = true});
  InitResnet(net, Seed(0));
  for (const auto& blocks : net.stages) {
    for (const auto& block : blocks) {
      EXPECT_EQ(block.norms.back().weight.abs().max().item<float>(), 0);
      EXPECT_EQ(block.norms.front().weight.min().item<float>(), 1);
    }
  }
}

// Backwards through a strided 1 x 1 convolution of so few channels oneDNN 3.10 dies, in fp32 with AVX-512.
TEST(Resnet, NarrowNetsLearn) {
  Resnet net = MakeResnet({.depth = 18, .width = 0.125, .small_stem = true});
  InitResnet(net, Seed(0));
  const WeightList list = ListWeights(net);
  UseChannelsLast(list);
  SetRequiresGrad(list, true);
  const Tensor pixels = NormalTensor(Seed(1), {64, 3, 64, 64}).contiguous(at::MemoryFormat::ChannelsLast);
  ForwardResnet(net, pixels, true).pooled.square().sum().backward();
  EXPECT_TRUE(at::isfinite(net.stages[1][0].shortcut.weight.grad()).all().item<bool>());
  EXPECT_GT(net.stages[1][0].shortcut.weight.grad().abs().max().item<float>(), 0);
}

TEST(Resnet, InferenceLeavesStatisticsAlone) {
  Resnet net = MakeResnet({.depth = 18, .width = 1.0 / 32, .small_stem = true});
  InitResnet(net, Seed(0));
  ForwardResnet(net, NormalTensor(Seed(1), {4, 3, 16, 16}), false);
  EXPECT_EQ(net.stem_norm.num_batches_tracked.item<int64_t>(), 0);
  EXPECT_EQ(net.stem_norm.running_mean.abs().max().item<float>(), 0);
  ForwardResnet(net, NormalTensor(Seed(1), {4, 3, 16, 16}), true);
  EXPECT_EQ(net.stem_norm.num_batches_tracked.item<int64_t>(), 1);
  EXPECT_GT(net.stem_norm.running_mean.abs().max().item<float>(), 0);
}

}  // namespace
}  // namespace genview
