#include "genview/models/blocks.h"

#include <gtest/gtest.h>

#include <cmath>

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "genview/tensor/device.h"
#include "genview/tensor/packed_matrix.h"

namespace genview {
namespace {

struct Toy {
  LinearWeights fc = MakeLinear(3, 2);
  BatchNormWeights bn = MakeBatchNorm(2);
};
WeightList ListWeights(Toy& toy) {
  WeightList list;
  Append(list, "fc", toy.fc);
  Append(list, "bn", toy.bn);
  return list;
}

TEST(WeightList, InitDependsOnSeedAndNameAlone) {
  Toy a, b;
  InitWeights(ListWeights(a), Seed(1));
  InitWeights(ListWeights(b), Seed(1));
  EXPECT_TRUE(at::equal(a.fc.weight, b.fc.weight));
  EXPECT_LE(a.fc.weight.abs().max().item<float>(), 1 / std::sqrt(3.0));
  InitWeights(ListWeights(b), Seed(2));
  EXPECT_FALSE(at::equal(a.fc.weight, b.fc.weight));
  EXPECT_EQ(CountParameters(ListWeights(a)), 6 + 2 + 4);
}

TEST(WeightList, CountersAreIntegersWhateverTheFileHasThemIn) {
  Toy toy, read;
  InitWeights(ListWeights(toy), Seed(1));
  WeightMap weights("model.safetensors");
  for (const auto& [name, tensor] : NamedTensors(ListWeights(toy)))
    weights.Add(name, name.ends_with("num_batches_tracked") ? at::full({}, 3, at::kFloat) : tensor);
  WeightReader reader(weights);
  LoadWeights(ListWeights(read), reader);
  reader.Finish();
  EXPECT_EQ(read.bn.num_batches_tracked.scalar_type(), at::kLong);
  EXPECT_EQ(read.bn.num_batches_tracked.item<int64_t>(), 3);
}

// Packed, a transformer block gives what the same weights give unpacked, but for where it rounds.
TEST(WeightList, PackedLinearsKeepTheirNumbers) {
  if (!PackingPays(at::kCPU, at::kBFloat16)) GTEST_SKIP() << "this processor has no matrix unit for bf16";
  const c10::InferenceMode guard;
  EncoderBlock block = MakeEncoderBlock(32, 96);
  WeightList list;
  Append(list, "norm1", block.norm1);
  Append(list, "qkv", block.qkv);
  Append(list, "proj", block.proj);
  Append(list, "norm2", block.norm2);
  Append(list, "fc1", block.fc1);
  Append(list, "fc2", block.fc2);
  Append(list, "scale", block.scale1 = at::empty({32}), WeightRole::kWeight);
  InitWeights(list, Seed(1));
  block.scale1.fill_(1);
  const Tensor x = NormalTensor(Seed(2), {3, 5, 32});
  for (const Activation kind : {Activation::kGelu, Activation::kGeluTanh, Activation::kQuickGelu}) {
    const EncoderBlockOptions options{.heads = 4, .activation = kind};
    EncoderBlock packed = block;
    WeightList refs{{"fc1", &packed.fc1.weight, WeightRole::kWeight, true},
                    {"qkv", &packed.qkv.weight, WeightRole::kWeight, true},
                    {"scale", &packed.scale1, WeightRole::kWeight}};
    for (WeightRef& ref : refs) *ref.tensor = ref.tensor->to(at::kBFloat16);
    PackLinears(refs, at::kCPU, at::kFloat);
    EXPECT_FALSE(packed.fc1.weight.is_mkldnn());
    PackLinears(refs, at::kCPU, at::kBFloat16);
    EXPECT_TRUE(packed.fc1.weight.is_mkldnn() && packed.qkv.weight.is_mkldnn());
    EXPECT_FALSE(packed.scale1.is_mkldnn());
    const Tensor exact = ForwardEncoderBlock(block, options, x);
    const ComputeScope compute(at::kCPU, at::kBFloat16);
    const Tensor plain = ForwardEncoderBlock(block, options, x), got = ForwardEncoderBlock(packed, options, x);
    EXPECT_EQ(got.scalar_type(), plain.scalar_type());
    const auto away = [&](const Tensor& y) { return ((y - exact).norm() / exact.norm()).item<double>(); };
    EXPECT_LT(away(got), 1.2 * away(plain) + 1e-4);
    EXPECT_GT(away(got), 0);
  }
}

TEST(WeightList, AverageMovesTrainableTensorsOnly) {
  Toy a, b;
  InitWeights(ListWeights(a), Seed(1));
  InitWeights(ListWeights(b), Seed(2));
  b.bn.running_mean.fill_(5);
  const Tensor expected = a.fc.weight * 0.9 + b.fc.weight * 0.1;
  AverageWeights(ListWeights(a), ListWeights(b), 0.9);
  EXPECT_TRUE(at::allclose(a.fc.weight, expected));
  EXPECT_EQ(a.bn.running_mean.abs().max().item<float>(), 0);
}

TEST(Attention, PlainAndFusedFormsAgree) {
  for (const bool causal : {false, true}) {
    const Tensor q = NormalTensor(Seed(1), {2, 5, 8}), k = NormalTensor(Seed(2), {2, 5, 8}),
                 v = NormalTensor(Seed(3), {2, 5, 8});
    const Tensor fused = Attention(q, k, v, 2, causal);
    const Tensor leaf = q.clone().set_requires_grad(true);
    EXPECT_TRUE(at::allclose(fused, Attention(leaf, k, v, 2, causal).detach(), 1e-5, 1e-6));
  }
}

TEST(Blocks, WeightsOf16BitsGiveTheNumbersOfTheSameInFp32) {
  const c10::InferenceMode guard;
  for (const at::ScalarType type : {at::kHalf, at::kBFloat16}) {
    const LinearWeights narrow{NormalTensor(Seed(1), {7, 5}).to(type), NormalTensor(Seed(2), {7})},
        wide{narrow.weight.to(at::kFloat), narrow.bias};
    const Tensor x = NormalTensor(Seed(3), {2, 3, 5});
    EXPECT_TRUE(at::equal(Linear(narrow, x), Linear(wide, x)));
    // So large that it is widened a few rows at a time, on all threads.
    const LinearWeights large{NormalTensor(Seed(6), {2500, 700}).to(type), NormalTensor(Seed(7), {2500})},
        bare{large.weight, {}};
    const Tensor rows = NormalTensor(Seed(8), {2, 5, 700});
    EXPECT_LT((Linear(large, rows) - Linear({large.weight.to(at::kFloat), large.bias}, rows)).abs().max().item<float>(),
              1e-4);
    EXPECT_LT((Linear(bare, rows) - at::linear(rows, large.weight.to(at::kFloat))).abs().max().item<float>(), 1e-4);
    const ConvWeights narrow_conv{NormalTensor(Seed(4), {6, 5, 3, 3}).to(type), {}},
        wide_conv{narrow_conv.weight.to(at::kFloat), {}};
    const Tensor map = NormalTensor(Seed(5), {1, 5, 4, 4});
    EXPECT_TRUE(at::equal(Conv(narrow_conv, map, 1, 1), Conv(wide_conv, map, 1, 1)));
  }
}

TEST(Blocks, ThreadsChangeNoByteOfProductsWithWeightsOf16Bits) {
  const c10::InferenceMode guard;
  const int before = at::get_num_threads();
  for (const at::ScalarType type : {at::kHalf, at::kBFloat16}) {
    for (const int64_t rows : {3, 40, 600}) {
      const Tensor x = NormalTensor(Seed(1), {rows, 1300});
      const LinearWeights w{NormalTensor(Seed(2), {1700, 1300}).to(type), NormalTensor(Seed(3), {1700})};
      at::set_num_threads(1);
      const Tensor one = Linear(w, x);
      for (const int threads : {2, 5}) {
        at::set_num_threads(threads);
        EXPECT_TRUE(at::equal(Linear(w, x), one)) << rows << " rows, " << type << ", " << threads << " threads";
      }
    }
  }
  at::set_num_threads(before);
}

}  // namespace
}  // namespace genview
