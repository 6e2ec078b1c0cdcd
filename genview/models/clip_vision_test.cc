#include "genview/models/clip_vision.h"

#include <gtest/gtest.h>

#include "genview/base/error.h"

namespace genview {
namespace {

std::string Complaint(const Json& config, bool open_clip) {
  try {
    if (open_clip) ClipConfigFromOpenClip(config, "file.json");
    else ClipConfigFromHuggingFace(config, "file.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.text().where, "file.json");
    return error.text().what;
  }
  return "";
}

Json WithVision(const std::string& key, const Json& value) {
  Json config = {{"embed_dim", 8}, {"vision_cfg", {{"width", 64}, {"layers", 1}}}};
  config["vision_cfg"][key] = value;
  return config;
}

TEST(ClipConfig, OtherArchitecturesAreRefusedByName) {
  EXPECT_EQ(Complaint(WithVision("patch_size", 16), true), "");
  EXPECT_EQ(Complaint(WithVision("ls_init_value", nullptr), true), "");
  EXPECT_NE(Complaint(WithVision("qk_norm", true), true).find("`qk_norm` is true"), std::string::npos);
  EXPECT_NE(Complaint(WithVision("of_tomorrow", 1e-5), true).find("`of_tomorrow` is 1e-05"), std::string::npos);
  EXPECT_EQ(Complaint(WithVision("of_tomorrow", false), true), "");
  EXPECT_NE(Complaint(WithVision("attentional_pool", "deep"), true).find("`attentional_pool` is \"deep\""),
            std::string::npos);
  EXPECT_NE(Complaint(WithVision("attentional_pool", "cascade"), true).find("which differ"), std::string::npos);
  EXPECT_NE(Complaint(WithVision("act_kwargs", {{"inplace", true}}), true).find("`act_kwargs`"), std::string::npos);
  EXPECT_NE(Complaint(WithVision("timm_model_name", "convnext_base"), true).find("convnext_base"), std::string::npos);
  EXPECT_NE(Complaint(WithVision("layers", {3, 4, 6, 3}), true).find("ResNet"), std::string::npos);
  EXPECT_NE(Complaint(WithVision("pool_type", "none"), true).find("\"none\", supported: tok, avg"), std::string::npos);
  EXPECT_NE(Complaint(WithVision("image_size", {224, 112}), true).find("not a square"), std::string::npos);
  EXPECT_NE(Complaint({{"model_type", "siglip"}}, false).find("siglip"), std::string::npos);
  EXPECT_NE(Complaint({{"hidden_act", "mish"}}, false).find("`hidden_act`"), std::string::npos);
  EXPECT_NE(Complaint({{"num_channels", 1}}, false).find("`num_channels`"), std::string::npos);
}

TEST(ClipConfig, SizesAreBounded) {
  EXPECT_NE(Complaint(WithVision("layers", 1000000000), true).find("`layers`"), std::string::npos);
  EXPECT_NE(Complaint(WithVision("layers", -1), true).find("`layers`"), std::string::npos);
  EXPECT_NE(Complaint(WithVision("patch_size", 0), true).find("`patch_size`"), std::string::npos);
  EXPECT_NE(Complaint(WithVision("patch_size", 300), true).find("patches per side"), std::string::npos);
  EXPECT_NE(Complaint(WithVision("head_width", 0), true).find("`head_width`"), std::string::npos);
  EXPECT_NE(Complaint({{"hidden_size", 100}, {"num_attention_heads", 12}}, false).find("not a multiple"),
            std::string::npos);
}

TEST(ClipConfig, ReadsWhatItWrites) {
  ClipVisionConfig c{.width = 96,
                     .layers = 3,
                     .heads = 3,
                     .mlp_width = 240,
                     .patch_size = 8,
                     .image_size = 64,
                     .embedding_width = 48,
                     .activation = Activation::kQuickGelu,
                     .norm_before = false};
  const ClipVisionConfig a = ClipConfigFromOpenClip(ClipConfigToOpenClip(c), "x");
  EXPECT_EQ(a.mlp_width, 240);
  EXPECT_EQ(a.heads, 3);
  EXPECT_FALSE(a.norm_before);
  EXPECT_EQ(a.activation, Activation::kQuickGelu);
  EXPECT_THROW(ClipConfigToHuggingFace(c), Error);
  c.norm_before = true;
  const ClipVisionConfig b = ClipConfigFromHuggingFace(ClipConfigToHuggingFace(c), "x");
  EXPECT_EQ(b.mlp_width, 240);
  EXPECT_EQ(b.embedding_width, 48);
  EXPECT_EQ(b.tokens(), 64);
}

TEST(ClipConfig, PoolingIsWrittenForOpenClipAlone) {
  for (const QueryPooling pooling : {QueryPooling::kNone, QueryPooling::kPlain, QueryPooling::kParallel}) {
    ClipVisionConfig c{.width = 64, .heads = 1, .mlp_width = 256, .embedding_width = 64};
    c.activation = Activation::kGeluTanh;
    c.layer_scale = true;
    c.query_pooling = pooling;
    c.mean_pool = pooling != QueryPooling::kParallel;
    c.norm_after_pool = pooling == QueryPooling::kNone;
    c.queries = pooling == QueryPooling::kNone ? 256 : 7;
    const Json written = ClipConfigToOpenClip(c);
    const ClipVisionConfig back = ClipConfigFromOpenClip(written, "x");
    EXPECT_EQ(ClipConfigToOpenClip(back), written);
    EXPECT_EQ(back.query_pooling, pooling);
    EXPECT_EQ(back.mean_pool, c.mean_pool);
    EXPECT_THROW(ClipConfigToHuggingFace(c), Error);
  }
  ClipVisionConfig c{.activation = Activation::kRelu};
  EXPECT_THROW(ClipConfigToOpenClip(c), Error);
  EXPECT_EQ(ClipConfigFromHuggingFace(ClipConfigToHuggingFace(c), "x").activation, Activation::kRelu);
}

TEST(ClipVision, CountsParametersWithoutBuilding) {
  for (const bool projection : {false, true}) {
    ClipVisionConfig c{.width = 16,
                       .layers = 2,
                       .heads = 2,
                       .mlp_width = 40,
                       .patch_size = 4,
                       .image_size = 12,
                       .embedding_width = 10,
                       .projection = projection};
    ClipVision tower = MakeClipVision(c);
    EXPECT_EQ(CountClipParameters(c), static_cast<double>(CountParameters(ListWeights(tower))));
  }
  for (const QueryPooling pooling : {QueryPooling::kPlain, QueryPooling::kCascade}) {
    ClipVisionConfig c{.width = 16, .layers = 2, .heads = 2, .mlp_width = 40, .patch_size = 4, .image_size = 12};
    c.embedding_width = pooling == QueryPooling::kPlain ? 10 : 16;
    c.layer_scale = true;
    c.query_pooling = pooling;
    c.queries = 5;
    ClipVision tower = MakeClipVision(c);
    EXPECT_EQ(CountClipParameters(c), static_cast<double>(CountParameters(ListWeights(tower))));
  }
  // ViT-H/14, whose count is published.
  EXPECT_EQ(CountClipParameters({.width = 1280,
                                 .layers = 32,
                                 .heads = 16,
                                 .mlp_width = 5120,
                                 .patch_size = 14,
                                 .image_size = 224,
                                 .embedding_width = 1024}),
            632076800.0);
}

TEST(ClipVision, InitIsAFunctionOfTheSeed) {
  const ClipVisionConfig c{
      .width = 64, .layers = 1, .heads = 2, .mlp_width = 128, .patch_size = 4, .image_size = 16, .embedding_width = 32};
  ClipVision a = MakeClipVision(c), b = MakeClipVision(c);
  InitClipVision(a, Seed(3));
  InitClipVision(b, Seed(3));
  EXPECT_TRUE(at::equal(a.blocks[0].qkv.weight, b.blocks[0].qkv.weight));
  EXPECT_TRUE(at::equal(a.projection, b.projection));
  EXPECT_NEAR(a.positions.std().item<double>(), 1.0 / 8, 0.02);
  EXPECT_EQ(a.blocks[0].qkv.bias.abs().max().item<float>(), 0);
}

TEST(ClipVision, ResultDoesNotDependOnTheBatch) {
  ClipVision tower = MakeClipVision(
      {.width = 32, .layers = 2, .heads = 2, .mlp_width = 64, .patch_size = 4, .image_size = 16, .embedding_width = 8});
  InitClipVision(tower, Seed(1));
  const Tensor pixels = NormalTensor(Seed(2), {5, 3, 16, 16});
  const ClipOutput all = ForwardClipVision(tower, pixels), one = ForwardClipVision(tower, pixels.narrow(0, 3, 1));
  EXPECT_TRUE(at::allclose(all.embedding.narrow(0, 3, 1), one.embedding, 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(all.tokens.narrow(0, 3, 1), one.tokens, 1e-5, 1e-6));
}

TEST(ClipVision, BareNamesAreRead) {
  const ClipVisionConfig config{
      .width = 8, .layers = 1, .heads = 1, .mlp_width = 8, .patch_size = 4, .image_size = 8, .projection = false};
  ClipVision tower = MakeClipVision(config), again = MakeClipVision(config);
  InitClipVision(tower, Seed(1));
  WeightMap file("weights");
  for (const auto& [name, tensor] : ClipTensors(tower, ClipLayout::kHuggingFace))
    file.Add(name.substr(std::string("vision_model.").size()), tensor);
  file.Add("embeddings.position_ids", at::arange(5));
  WeightReader reader(file);
  LoadClipVision(again, reader, ClipLayout::kHuggingFace);
  reader.Finish(ClipIgnored(ClipLayout::kHuggingFace));
  EXPECT_TRUE(at::equal(tower.blocks[0].qkv.weight, again.blocks[0].qkv.weight));
  EXPECT_TRUE(at::equal(tower.positions, again.positions));
}

TEST(ClipVision, MissingAndForeignTensorsAreNamedAsInTheFile) {
  ClipVision tower = MakeClipVision(
      {.width = 8, .layers = 1, .heads = 1, .mlp_width = 8, .patch_size = 4, .image_size = 8, .embedding_width = 4});
  InitClipVision(tower, Seed(1));
  WeightMap file("weights");
  for (const auto& [name, tensor] : ClipTensors(tower, ClipLayout::kHuggingFace)) {
    if (name != "vision_model.encoder.layers.0.self_attn.v_proj.bias") file.Add(name, tensor);
  }
  file.Add("vision_model.embeddings.position_ids", at::arange(5));
  file.Add("vision_model.stranger", at::zeros({1}));
  WeightReader reader(file);
  LoadClipVision(tower, reader, ClipLayout::kHuggingFace);
  try {
    reader.Finish(ClipIgnored(ClipLayout::kHuggingFace));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.text().what.find("self_attn.v_proj.bias: missing"), std::string::npos);
    EXPECT_NE(error.text().what.find("vision_model.stranger: not part"), std::string::npos);
    EXPECT_EQ(error.text().what.find("position_ids"), std::string::npos);
  }
}

}  // namespace
}  // namespace genview
