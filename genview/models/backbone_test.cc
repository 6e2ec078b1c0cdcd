#include "genview/models/backbone.h"

#include <gtest/gtest.h>

#include "genview/base/error.h"

namespace genview {
namespace {

TEST(Backbone, EveryNameMakesANetworkOfItsWidth) {
  const std::map<std::string, int64_t> widths = {{"resnet18", 512}, {"resnet34", 512},  {"resnet50", 2048},
                                                 {"vit-tiny", 192}, {"vit-small", 384}, {"vit-base", 768}};
  for (const std::string& name : BackboneNames())
    EXPECT_EQ(MakeBackbone(Json{{"type", name}})->width(), widths.at(name)) << name;
  EXPECT_EQ(BackboneNames().size(), widths.size());
}

// timm's counts with the classifier of 1000 classes: 22,050,664 and 86,567,656 in 152 tensors.
TEST(Backbone, VitsHaveTimmsParameters) {
  const auto count = [](const char* name) {
    const auto net = MakeBackbone(Json{{"type", name}});
    EXPECT_EQ(net->Weights().size(), 150u);
    return CountParameters(net->Weights()) + net->width() * 1000 + 1000;
  };
  EXPECT_EQ(count("vit-small"), 22050664);
  EXPECT_EQ(count("vit-base"), 86567656);
}

TEST(Backbone, TokensAreAGridOfTheOutput) {
  const Json configs[] = {
      {{"type", "resnet18"}, {"width", 1.0 / 32}, {"small_stem", true}, {"image_size", 20}},
      {{"type", "resnet18"}, {"width", 1.0 / 32}, {"small_stem", true}, {"stem_padding", 2}, {"image_size", 32}},
      {{"type", "resnet50"}, {"width", 1.0 / 64}, {"image_size", 33}},
      {{"type", "vit-tiny"}, {"width", 0.125}, {"layers", 2}, {"patch_size", 4}, {"image_size", 16}}};
  for (const Json& config : configs) {
    const auto net = MakeBackbone(config);
    net->Init(Seed(5));
    const int64_t size = net->config().image_size, grid = net->grid(size);
    const BackboneOutput out = net->Forward(NormalTensor(Seed(1), {2, 3, size, size}), false);
    EXPECT_EQ(out.pooled.sizes(), (at::IntArrayRef{2, net->width()}));
    EXPECT_EQ(out.tokens.sizes(), (at::IntArrayRef{2, grid * grid, net->width()}));
    EXPECT_TRUE(at::isfinite(out.pooled).all().item<bool>());
  }
}

TEST(Backbone, PaddingOfTheStemIsWrittenWhereItIsNotTheUsualOne) {
  BackboneConfig config{.type = "resnet18", .small_stem = true};
  EXPECT_FALSE(FieldsToJson(config).contains("stem_padding"));  // files from before it stay the same
  EXPECT_EQ(MakeBackbone(FieldsToJson(config))->config().stem_padding, 1);
  config.stem_padding = 2;
  EXPECT_EQ(FieldsToJson(config)["stem_padding"], 2);
  EXPECT_EQ(MakeBackbone(FieldsToJson(config))->grid(32), 5);
  EXPECT_THROW(MakeBackbone(Json{{"type", "resnet18"}, {"stem_padding", 2}}), UsageError);
}

TEST(Backbone, WrongNamesAreAnsweredWithTheNearest) {
  try {
    MakeBackbone(Json{{"type", "resnet-18"}});
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().next, "did you mean `resnet18`?");
  }
  EXPECT_THROW(MakeBackbone(Json{{"type", "resnet18"}, {"stem", 3}}), UsageError);
  EXPECT_THROW(MakeBackbone(Json{{"type", "vit-tiny"}, {"image_size", 30}}), UsageError);
  EXPECT_THROW(MakeBackbone(Json{{"type", "vit-tiny"}, {"heads", 7}}), UsageError);
}

TEST(Vit, SinCosPositionsFollowRowsThenColumns) {
  const Tensor p = SinCosPositions(14, 384);
  EXPECT_EQ(p.sizes(), (at::IntArrayRef{197, 384}));
  const auto at_entry = [&](int64_t token, int64_t i) { return p[token + 1][i].item<double>(); };
  const int64_t entries[] = {0, 96, 192, 193, 288};
  const double first[] = {0, 1, 0.841471, 0.788593, 0.540302};
  for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(at_entry(1, entries[i]), first[i], 1e-6);
  const int64_t row_entries[] = {0, 1, 96, 192, 288};
  const double second[] = {0.841471, 0.788593, 0.540302, 0, 1};
  for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(at_entry(14, row_entries[i]), second[i], 1e-6);
  EXPECT_EQ(p[0].abs().max().item<float>(), 0);
}

TEST(Vit, FixedPositionsAndFrozenPatchAreNotTrained) {
  const auto net = MakeBackbone(Json{{"type", "vit-tiny"},
                                     {"width", 0.125},
                                     {"layers", 1},
                                     {"patch_size", 8},
                                     {"image_size", 16},
                                     {"positions", "sincos"},
                                     {"frozen_patch", true}});
  net->Init(Seed(0));
  SetRequiresGrad(net->Weights(), true);
  net->Forward(NormalTensor(Seed(1), {2, 3, 16, 16}), true).pooled.square().sum().backward();
  for (const WeightRef& ref : net->Weights()) {
    const bool fixed = ref.name == "pos_embed" || ref.name.starts_with("patch_embed");
    EXPECT_EQ(ref.tensor->requires_grad(), !fixed) << ref.name;
    if (!fixed || ref.name == "patch_embed.proj.bias") continue;  // that bias begins at 0
    EXPECT_GT(ref.tensor->abs().max().item<float>(), 0) << ref.name;
  }
}

BackboneConfig DroppingVit(double rate) {
  BackboneConfig config;
  config.type = "vit-tiny";
  config.width = 0.125;
  config.layers = 3;
  config.patch_size = 4;
  config.image_size = 8;
  config.drop_path = rate;
  return config;
}

TEST(DropPath, FactorsKeepTheMeanAndDependOnTheSeedAlone) {
  const Tensor factors = KeepFactors(0.25, Seed(1), 4000);
  EXPECT_EQ(factors.sizes(), (at::IntArrayRef{2, 4000, 1, 1}));
  EXPECT_NEAR(factors.mean().item<double>(), 1, 0.05);
  const float kept = static_cast<float>(1 / 0.75);
  EXPECT_TRUE(((factors == 0) | (factors == kept)).all().item<bool>());
  EXPECT_FALSE(at::equal(factors[0], factors[1]));
  EXPECT_TRUE(at::equal(factors, KeepFactors(0.25, Seed(1), 4000)));
  EXPECT_FALSE(at::equal(factors, KeepFactors(0.25, Seed(2), 4000)));
}

TEST(DropPath, IsOnInTrainingAloneAndComesAgainWithTheSeed) {
  const auto net = MakeBackbone(DroppingVit(0.5)), whole = MakeBackbone(DroppingVit(0));
  net->Init(Seed(0));
  whole->Init(Seed(0));
  const Tensor x = NormalTensor(Seed(1), {6, 3, 8, 8});
  const Tensor plain = whole->Forward(x, true).pooled;
  EXPECT_TRUE(at::equal(net->Forward(x, false).pooled, plain));
  net->Reseed(Seed(7));
  const Tensor first = net->Forward(x, true).pooled, second = net->Forward(x, true).pooled;
  EXPECT_FALSE(at::allclose(first, plain));
  EXPECT_FALSE(at::allclose(first, second));
  EXPECT_TRUE(at::equal(net->Forward(x, false).pooled, plain));  // takes no draw
  net->Reseed(Seed(7));
  EXPECT_TRUE(at::equal(net->Forward(x, true).pooled, first));
  EXPECT_TRUE(at::equal(net->Forward(x, true).pooled, second));
  EXPECT_FALSE(
      FieldsToJson(net->config()).contains("drop_path"));  // a checkpoint describes what is left after training
}

}  // namespace
}  // namespace genview
