// The CLIP tower against open_clip and transformers; see tests/golden/make_models.py.
#include "genview/models/clip_vision.h"

#include "genview/base/error.h"
#include "tests/golden/compare.h"

namespace genview {
namespace {

ClipVision Load(const WeightMap& golden, ClipLayout layout) {
  const Json config = ParseJson(golden.Metadata("config"), golden.where());
  ClipVision tower =
      MakeClipVision(layout == ClipLayout::kOpenClip ? ClipConfigFromOpenClip(config, golden.where())
                                                     : ClipConfigFromHuggingFace(config, golden.where()));
  const WeightMap weights = golden.WithPrefixRemoved("weights.");
  WeightReader reader(weights);
  LoadClipVision(tower, reader, layout);
  reader.Finish(ClipIgnored(layout));
  return tower;
}

// Both libraries' own rounding is below 1e-6; an epsilon of 1e-6 in place of 1e-5 makes 2e-5, the tanh form in place of
// the exact GELU 7e-5.
constexpr double kTolerance = 1e-5;

void CompareOutputs(const std::string& name, ClipLayout layout) {
  const WeightMap golden = Golden(name);
  const ClipVision tower = Load(golden, layout);
  const ClipOutput out = ForwardClipVision(tower, golden.At("pixels"));
  EXPECT_CLOSE(out.embedding, golden.At("embedding"), kTolerance);
  EXPECT_CLOSE(out.tokens, golden.At("tokens"), kTolerance);
}

TEST(ClipVisionGolden, OpenClip) { CompareOutputs("models/open_clip_gelu", ClipLayout::kOpenClip); }
TEST(ClipVisionGolden, OpenClipQuickGeluWithoutFirstNorm) {
  CompareOutputs("models/open_clip_quick", ClipLayout::kOpenClip);
}
// CLIPA's pooling, CoCa's in all its forms, layer scale, fixed positions.
TEST(ClipVisionGolden, OpenClipsOtherPoolings) {
  for (const char* name : {"clipa", "mean", "coca", "coca_mean", "coca_parallel", "coca_cascade"}) {
    SCOPED_TRACE(name);
    CompareOutputs(Format("models/open_clip_{}", name), ClipLayout::kOpenClip);
  }
}
TEST(ClipVisionGolden, TransformersOtherActivations) {
  const WeightMap golden = Golden("models/transformers_activations");
  for (const std::string name :
       {"gelu_python", "gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu_accurate", "relu", "silu", "swish"}) {
    Json config = ParseJson(golden.Metadata("config"), golden.where());
    config["hidden_act"] = name;
    ClipVision tower = MakeClipVision(ClipConfigFromHuggingFace(config, golden.where()));
    const WeightMap weights = golden.WithPrefixRemoved("weights.");
    WeightReader reader(weights);
    LoadClipVision(tower, reader, ClipLayout::kHuggingFace);
    EXPECT_CLOSE(ForwardClipVision(tower, golden.At("pixels")).embedding, golden.At("embedding." + name), kTolerance)
        << name;
  }
}
TEST(ClipVisionGolden, TransformersWithProjection) {
  CompareOutputs("models/transformers_gelu", ClipLayout::kHuggingFace);
}
TEST(ClipVisionGolden, TransformersWholeClip) {
  CompareOutputs("models/transformers_quick_whole", ClipLayout::kHuggingFace);
}

TEST(ClipVisionGolden, GradientsAreOpenClips) {
  for (const char* name : {"models/open_clip_gelu", "models/open_clip_quick"}) {
    const WeightMap golden = Golden(name);
    ClipVision tower = Load(golden, ClipLayout::kOpenClip);
    const WeightList list = ListWeights(tower);
    SetRequiresGrad(list, true);
    const ClipOutput out = ForwardClipVision(tower, golden.At("pixels"));
    ((out.embedding * golden.At("factor")).sum() + out.tokens.square().sum()).backward();
    int compared = 0;
    for (const WeightRef& ref : list) {
      const std::string key = "grad.visual." + ref.name;
      if (!golden.Has(key)) continue;
      EXPECT_CLOSE(ref.tensor->grad(), golden.At(key), 1e-4) << ref.name;
      ++compared;
    }
    EXPECT_GE(compared, 2);
  }
}

// What is written in one layout and read back is the same tower.
TEST(ClipVisionGolden, LayoutsConvertIntoEachOther) {
  const WeightMap golden = Golden("models/open_clip_gelu");
  ClipVision tower = Load(golden, ClipLayout::kOpenClip);
  WeightMap file("converted");
  for (const auto& [name, tensor] : ClipTensors(tower, ClipLayout::kHuggingFace)) file.Add(name, tensor);
  EXPECT_TRUE(file.Has("vision_model.encoder.layers.1.self_attn.k_proj.weight"));
  ClipVision again = MakeClipVision(ClipConfigFromHuggingFace(ClipConfigToHuggingFace(tower.config), "written"));
  WeightReader reader(file);
  LoadClipVision(again, reader, ClipLayout::kHuggingFace);
  reader.Finish();
  const WeightList a = ListWeights(tower), b = ListWeights(again);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(at::equal(*a[i].tensor, *b[i].tensor)) << a[i].name;
}

}  // namespace
}  // namespace genview
