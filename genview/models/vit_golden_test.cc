// The ViT against timm; see tests/golden/make_models.py.
#include "genview/models/vit.h"

#include "tests/golden/compare.h"

namespace genview {
namespace {

TEST(VitGolden, OutputsAndGradientsAreTimms) {
  const WeightMap golden = Golden("models/timm_vit");
  Vit vit = MakeVit({.width = 24, .layers = 2, .heads = 3, .mlp_width = 96, .patch_size = 8, .image_size = 24});
  const WeightList list = ListWeights(vit);
  const WeightMap weights = golden.WithPrefixRemoved("weights.");
  WeightReader reader(weights);
  LoadWeights(list, reader);
  reader.Finish();
  SetRequiresGrad(list, true);
  const VitOutput out = ForwardVit(vit, golden.At("pixels"));
  EXPECT_CLOSE(out.pooled, golden.At("pooled"), 1e-5);  // an epsilon of 1e-5 in place of 1e-6 makes 5e-5
  EXPECT_CLOSE(out.tokens, golden.At("tokens"), 1e-5);
  ((out.pooled * golden.At("factor")).sum() + out.tokens.square().sum()).backward();
  int compared = 0;
  for (const WeightRef& ref : list) {
    if (!golden.Has("grad." + ref.name)) continue;
    EXPECT_CLOSE(ref.tensor->grad(), golden.At("grad." + ref.name), 1e-4) << ref.name;
    ++compared;
  }
  EXPECT_EQ(compared, 6);
}

TEST(VitGolden, DropPathIsTimms) {
  const WeightMap golden = Golden("models/timm_drop_path");
  EncoderBlock block = MakeEncoderBlock(8, 16);
  const std::pair<const char*, LinearWeights*> layers[] = {
      {"attn.qkv", &block.qkv}, {"attn.proj", &block.proj}, {"mlp.fc1", &block.fc1}, {"mlp.fc2", &block.fc2}};
  for (const auto& [name, layer] : layers)
    *layer = {golden.At(Format("{}.weight", name)), golden.At(Format("{}.bias", name))};
  block.norm1 = {golden.At("norm1.weight"), golden.At("norm1.bias")};
  block.norm2 = {golden.At("norm2.weight"), golden.At("norm2.bias")};
  EncoderBlockOptions options{.heads = 2, .eps = 1e-6};
  options.keep1 = golden.At("keep1").view({-1, 1, 1});
  options.keep2 = golden.At("keep2").view({-1, 1, 1});
  EXPECT_GT((options.keep1 == 0).sum().item<int64_t>(), 0);
  const Tensor x = golden.At("x").clone().set_requires_grad(true);
  const Tensor out = ForwardEncoderBlock(block, options, x);
  EXPECT_CLOSE(out, golden.At("out"), 1e-4);
  (out * golden.At("factor")).sum().backward();
  EXPECT_CLOSE(x.grad(), golden.At("grad"), 1e-4);
}

}  // namespace
}  // namespace genview
