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
  EXPECT_CLOSE(out.pooled, golden.At("pooled"), 1e-4);
  EXPECT_CLOSE(out.tokens, golden.At("tokens"), 1e-4);
  ((out.pooled * golden.At("factor")).sum() + out.tokens.square().sum()).backward();
  int compared = 0;
  for (const WeightRef& ref : list) {
    if (!golden.Has("grad." + ref.name)) continue;
    EXPECT_CLOSE(ref.tensor->grad(), golden.At("grad." + ref.name), 1e-4) << ref.name;
    ++compared;
  }
  EXPECT_EQ(compared, 6);
}

}  // namespace
}  // namespace genview
