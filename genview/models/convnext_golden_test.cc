// ConvNeXt towers against open_clip and timm; see tests/golden/make_convnext.py.
#include <c10/core/InferenceMode.h>

#include "genview/base/error.h"
#include "genview/models/clip_vision.h"
#include "genview/models/convnext.h"
#include "genview/models/encoder.h"
#include "genview/tensor/safetensors.h"
#include "tests/golden/compare.h"

namespace genview {
namespace {

ConvNextConfig ConfigOf(const WeightMap& golden) {
  const Json json = ParseJson(golden.Metadata("config"), golden.where());
  const Json &trunk = json["trunk"], &vision = json["vision"];
  ConvNextConfig c;
  c.depths = trunk["depths"].get<std::array<int64_t, 4>>();
  c.widths = trunk["dims"].get<std::array<int64_t, 4>>();
  c.kernels = trunk.value("kernel_sizes", c.kernels);
  c.conv_mlp = trunk.value("conv_mlp", false);
  c.activation = trunk.value("act_layer", "gelu") == "gelu" ? Activation::kGelu : Activation::kGeluTanh;
  c.eps = trunk.value("norm_eps", 1e-6);
  c.projection = vision["timm_proj"] == "mlp" ? ClipProjection::kMlp : ClipProjection::kLinear;
  c.projection_bias = vision.value("timm_proj_bias", false);
  c.image_size = vision["image_size"].get<int64_t>();
  c.embedding_width = json["embed_dim"].get<int64_t>();
  return c;
}

ConvNext Load(const WeightMap& golden) {
  ConvNext tower = MakeConvNext(ConfigOf(golden));
  const WeightMap weights = golden.WithPrefixRemoved("weights.");
  WeightReader reader(weights);
  LoadConvNext(tower, reader);
  reader.Finish(ClipIgnored(ClipLayout::kOpenClip));
  return tower;
}

class ConvNextGolden : public testing::TestWithParam<const char*> {};

TEST_P(ConvNextGolden, EqualsOpenClipAsItIsAndFused) {
  const c10::InferenceMode guard;
  const WeightMap golden = Golden(std::string("models/") + GetParam());
  ConvNext tower = Load(golden);
  EXPECT_EQ(tower.config.grid() * tower.config.grid(), golden.At("tokens").size(1));
  for (const bool fused : {false, true}) {
    if (fused) FuseConvNext(tower);
    const ConvNextOutput out = ForwardConvNext(tower, golden.At("pixels").to(at::kFloat));
    EXPECT_CLOSE(out.tokens, golden.At("tokens"), 1e-5) << fused;
    EXPECT_CLOSE(out.embedding, golden.At("embedding"), 1e-5) << fused;
  }
}

INSTANTIATE_TEST_SUITE_P(All, ConvNextGolden, testing::Values("convnext_linear", "convnext_mlp"),
                         [](const auto& each) { return std::string(each.param); });

TEST(ConvNext, ParametersOfBaseWAreThoseOfThePublishedTower) {
  const Json config = {
      {"embed_dim", 640},
      {"vision_cfg",
       {{"timm_model_name", "convnext_base"}, {"timm_pool", ""}, {"timm_proj", "linear"}, {"image_size", 256}}}};
  ConvNext tower = MakeConvNext(ConvNextConfigFromOpenClip(config, "test"));
  EXPECT_EQ(CountParameters(ListWeights(tower)), 88'221'824);
  EXPECT_NEAR(CountConvNextParameters(tower.config), 88'221'824, 88'221'824 * 0.01);
  EXPECT_EQ(tower.config.grid(), 8);
}

std::string FailureOf(const Json& vision) {
  try {
    (void)ConvNextConfigFromOpenClip({{"embed_dim", 8}, {"vision_cfg", vision}}, "test");
  } catch (const Error& error) {
    return error.text().what;
  }
  return "accepted";
}

TEST(ConvNext, WhatIsNotReadIsNamed) {
  EXPECT_NE(FailureOf({{"timm_model_name", "convnextv2_tiny"}}).find("convnextv2_tiny"), std::string::npos);
  EXPECT_NE(FailureOf({{"timm_model_name", "convnext_tiny"}, {"timm_pool", "rot_attn"}}).find("rot_attn"),
            std::string::npos);
  EXPECT_NE(FailureOf({{"timm_model_name", "convnext_tiny"}, {"timm_proj", "conv"}}).find("timm_proj"),
            std::string::npos);
  EXPECT_NE(
      FailureOf({{"timm_model_name", "convnext_tiny"}, {"timm_proj", ""}, {"timm_pool", ""}}).find("no embedding"),
      std::string::npos);
  EXPECT_EQ(FailureOf({{"timm_model_name", "convnext_tiny.fb_in22k"}}), "accepted");
}

// A folder as open_clip writes it; what is missing is named under the file's own names.
TEST(ConvNext, OpensAsAnEncoder) {
  const c10::InferenceMode guard;
  const Path folder = Path(testing::TempDir()) / "encoder_convnext";
  std::filesystem::remove_all(folder);
  const Json config = {
      {"embed_dim", 8},
      {"vision_cfg",
       {{"timm_model_name", "test_convnext2"}, {"timm_proj", "linear"}, {"timm_pool", ""}, {"image_size", 64}}}};
  WriteJson(folder / "open_clip_config.json", {{"model_cfg", config}, {"preprocess_cfg", {{"mean", {0.5, 0.5, 0.5}}}}});
  ConvNext tower = MakeConvNext(ConvNextConfigFromOpenClip(config, "test"));
  InitWeights(ListWeights(tower), Seed(1));
  auto tensors = NamedTensors(ListWeights(tower), "visual.");
  tensors.emplace_back("logit_scale", at::ones({}));
  WriteSafetensors(folder / "open_clip_model.safetensors", tensors);
  const auto encoder = Encoder::Open(folder);
  EXPECT_EQ(encoder->embedding_width(), 8);
  EXPECT_EQ(encoder->token_width(), 128);
  EXPECT_EQ(encoder->grid(), 2);
  EXPECT_EQ(encoder->preprocess().size, 64);
  const Tensor pixels = NormalTensor(Seed(2), {2, 3, 64, 64});
  const Encoder::Output out = encoder->Encode(pixels, true);
  UseChannelsLast(ListWeights(tower));
  const ConvNextOutput wanted = ForwardConvNext(tower, pixels);
  EXPECT_CLOSE(out.embeddings, wanted.embedding, 1e-5);
  EXPECT_CLOSE(out.tokens, wanted.tokens, 1e-5);
  EXPECT_TRUE(encoder->Takes(64) && encoder->Takes(96) && encoder->Takes(32));
  EXPECT_FALSE(encoder->Takes(31) || encoder->Takes(224));
  const Tensor larger = NormalTensor(Seed(3), {2, 3, 96, 96});
  EXPECT_CLOSE(encoder->Encode(larger, true).tokens, ForwardConvNext(tower, larger).tokens, 1e-5);
  EXPECT_EQ(encoder->Encode(larger, true).tokens.sizes(), (at::IntArrayRef{2, 9, 128}));
  tensors.erase(tensors.begin() + 3);
  WriteSafetensors(folder / "open_clip_model.safetensors", tensors);
  try {
    Encoder::Open(folder);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.text().what.find(tensors[2].first.substr(0, 18)), std::string::npos) << error.text().what;
    EXPECT_NE(error.text().what.find("missing"), std::string::npos);
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace genview
