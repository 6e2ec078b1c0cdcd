#include "genview/data/augment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace genview {
namespace {

TEST(SampleAugment, IsAFunctionOfItsArguments) {
  const AugmentConfig config = AugmentPreset("simclr");
  const auto a = SampleAugment(config, Seed(3).With("x"), 500, 375),
             b = SampleAugment(config, Seed(3).With("x"), 500, 375);
  EXPECT_EQ(a.crop.x, b.crop.x);
  EXPECT_EQ(a.hue, b.hue);
  EXPECT_EQ(a.order, b.order);
  const auto c = SampleAugment(config, Seed(3).With("y"), 500, 375);
  EXPECT_NE(a.brightness, c.brightness);
}

TEST(SampleAugment, CropsLieInsideAndSpreadOverAreaAndAspect) {
  AugmentConfig config;
  double area_sum = 0, area_min = 1, log_aspect_sum = 0;
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    const Box crop = SampleAugment(config, Seed(1).With(static_cast<uint64_t>(i)), 400, 400).crop;
    ASSERT_GE(crop.x, 0);
    ASSERT_GE(crop.y, 0);
    ASSERT_LE(crop.x + crop.width, 400);
    ASSERT_LE(crop.y + crop.height, 400);
    const double area = static_cast<double>(crop.width * crop.height) / 160000;
    const double aspect = static_cast<double>(crop.width) / static_cast<double>(crop.height);
    EXPECT_GT(aspect, 0.74);
    EXPECT_LT(aspect, 1.35);
    area_sum += area;
    area_min = std::min(area_min, area);
    log_aspect_sum += std::log(aspect);
  }
  // Crops that do not fit are drawn again, which takes some of the largest away: torchvision has the same mean.
  EXPECT_NEAR(area_sum / kDraws, 0.5384, 0.01);
  EXPECT_LT(area_min, 0.21);
  EXPECT_NEAR(log_aspect_sum / kDraws, 0, 0.01);
}

TEST(SampleAugment, ChangesHappenAsOftenAsTheyShould) {
  const AugmentConfig config = AugmentPreset("byol", 1);
  double jitter = 0, gray = 0, blur = 0, solarize = 0, flip = 0;
  std::map<std::array<int, 4>, int> orders;
  constexpr int kDraws = 5000;
  for (int i = 0; i < kDraws; ++i) {
    const auto p = SampleAugment(config, Seed(2).With(static_cast<uint64_t>(i)), 64, 64);
    jitter += p.jitter;
    gray += p.gray;
    blur += p.sigma > 0;
    solarize += p.solarize;
    flip += p.flip;
    ++orders[p.order];
    EXPECT_GE(p.brightness, 0.6);
    EXPECT_LE(p.brightness, 1.4);
    EXPECT_GE(p.saturation, 0.8);
    EXPECT_LE(p.saturation, 1.2);
    EXPECT_LE(std::abs(p.hue), 0.1);
    EXPECT_LE(p.sigma, 2.0);
  }
  EXPECT_NEAR(jitter / kDraws, 0.8, 0.02);
  EXPECT_NEAR(gray / kDraws, 0.2, 0.02);
  EXPECT_NEAR(blur / kDraws, 0.1, 0.02);
  EXPECT_NEAR(solarize / kDraws, 0.2, 0.02);
  EXPECT_NEAR(flip / kDraws, 0.5, 0.03);
  EXPECT_EQ(orders.size(), 24u);
  for (const auto& [order, count] : orders) EXPECT_NEAR(count, kDraws / 24, 60);
}

TEST(SampleAugment, ProbabilitiesDoNotShiftOtherDraws) {
  AugmentConfig config = AugmentPreset("moco-v2");
  const auto before = SampleAugment(config, Seed(5), 100, 100);
  config.blur_p = 1;
  config.gray_p = 0;
  const auto after = SampleAugment(config, Seed(5), 100, 100);
  EXPECT_EQ(before.hue, after.hue);
  EXPECT_EQ(before.flip, after.flip);
  EXPECT_EQ(before.crop.width, after.crop.width);
}

TEST(ApplyAugment, WholeCropWithoutChangesIsTheResizedPicture) {
  Image image(8, 8);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 37);
  AugmentConfig config;
  config.size = 8;
  EXPECT_EQ(ApplyAugment(config, {.crop = {0, 0, 8, 8}}, image).pixels, image.pixels);
}

TEST(AugmentPreset, DiffersWhereThePapersDo) {
  EXPECT_EQ(AugmentPreset("simclr").scale_min, 0.08);
  EXPECT_EQ(AugmentPreset("byol", 0).blur_p, 1.0);
  EXPECT_EQ(AugmentPreset("byol", 1).solarize_p, 0.2);
  EXPECT_EQ(AugmentPreset("moco-v3", 0).scale_min, 0.2);
  EXPECT_EQ(AugmentPreset("linear").jitter_p, 0);
  for (const auto& name : AugmentPresetNames()) EXPECT_EQ(AugmentPreset(name).flip_p, 0.5);
  EXPECT_THROW(AugmentPreset("moco-v4"), UsageError);
}

}  // namespace
}  // namespace genview
