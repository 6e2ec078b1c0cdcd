// What inference computes in a way of its own, beside the plain operations that training takes.
#include "genview/models/diffusion_blocks.h"

#include <gtest/gtest.h>

#include <array>

#include <c10/core/InferenceMode.h>

namespace genview {
namespace {

Tensor RandomMap(at::IntArrayRef shape) {
  return NormalTensor(Seed(3), shape).contiguous(at::MemoryFormat::ChannelsLast);
}

void ExpectSame(const Tensor& got, const Tensor& wanted, const std::string& name) {
  ASSERT_EQ(got.sizes(), wanted.sizes()) << name;
  EXPECT_TRUE(got.is_contiguous(at::MemoryFormat::ChannelsLast)) << name;
  EXPECT_LT(((got - wanted).abs().max() / wanted.abs().max()).item<float>(), 3e-6f) << name;
}

// Of few pixels and many (as a product of neighbours, in the plain way, by Winograd), whole and halved, odd and flat.
TEST(DiffusionBlocks, ConvolutionsOfAllSizesGiveThePlainOne) {
  const c10::InferenceMode guard;
  for (const at::ScalarType type : {at::kFloat, at::kHalf}) {
    const ConvWeights narrow{NormalTensor(Seed(1), {96, 32, 3, 3}).to(type).contiguous(at::MemoryFormat::ChannelsLast),
                             NormalTensor(Seed(2), {96})};
    const ConvWeights wide{narrow.weight.to(at::kFloat), narrow.bias};
    for (const std::array<int64_t, 3>& size :
         {std::array<int64_t, 3>{1, 1, 1}, {2, 3, 5}, {1, 8, 8}, {2, 7, 6}, {1, 1, 90}, {1, 20, 21}, {2, 32, 32}}) {
      const Tensor x = RandomMap({size[0], 32, size[1], size[2]});
      for (const int64_t stride : {1, 2}) {
        ExpectSame(Conv3x3(narrow, x, stride), Conv(wide, x, stride, 1),
                   std::to_string(x.numel()) + ", stride " + std::to_string(stride));
      }
    }
  }
}

TEST(DiffusionBlocks, ResidualBlocksGiveTheSameWithAndWithoutGradients) {
  for (const int64_t out : {32, 48}) {  // without and with a shortcut
    for (const int64_t side : {4, 40}) {
      ResnetBlock block = MakeResnetBlock(32, out, 24);
      WeightList list;
      Append(list, "block", block);
      InitWeights(list, Seed(8));
      UseChannelsLast(list);
      const ConvWeights sampler{block.conv1.weight, block.conv1.bias};
      const Tensor x = RandomMap({2, 32, side, side}), before = x.clone(), time = NormalTensor(Seed(9), {2, 24});
      const Tensor plain = ForwardResnetBlock(block, x, time, 8, 1e-5),
                   large = Upsample(sampler, x, 2 * side, 2 * side), odd = Upsample(sampler, x, 2 * side - 1, 2 * side);
      const c10::InferenceMode guard;
      ExpectSame(ForwardResnetBlock(block, x, time, 8, 1e-5), plain, "block");
      EXPECT_TRUE(at::equal(x, before));
      ExpectSame(ForwardResnetBlock(block, x.clone(), time, 8, 1e-5), plain, "block that is given its input");
      ExpectSame(Upsample(sampler, x, 2 * side, 2 * side), large, "upsampled");
      ExpectSame(Upsample(sampler, x, 2 * side - 1, 2 * side), odd, "upsampled to an odd size");
    }
  }
}

}  // namespace
}  // namespace genview
