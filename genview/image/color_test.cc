#include "genview/image/color.h"

#include <gtest/gtest.h>

#include <functional>

#include "genview/base/random.h"
#include "genview/base/text.h"
#include "genview/image/color_kernels.h"
#include "genview/image/simd.h"

namespace genview {
namespace {

Image Noise(int64_t width, int64_t height) {
  Image image(width, height);
  Random random(Seed(3));
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random.Below(256));
  return image;
}

TEST(Adjust, FactorOneChangesNothing) {
  const Image image = Noise(23, 11);
  for (const auto& adjust : {AdjustBrightness, AdjustContrast, AdjustSaturation}) {
    Image copy = image;
    adjust(copy, 1);
    EXPECT_EQ(copy.pixels, image.pixels);
  }
}

TEST(Adjust, FactorZeroGivesTheTarget) {
  Image black = Noise(9, 9), gray = black, flat = black;
  AdjustBrightness(black, 0);
  EXPECT_EQ(black.pixels, std::vector<uint8_t>(9 * 9 * 3, 0));
  AdjustSaturation(gray, 0);
  for (size_t i = 0; i < gray.pixels.size(); i += 3) {
    EXPECT_EQ(gray.pixels[i], gray.pixels[i + 1]);
    EXPECT_EQ(gray.pixels[i], gray.pixels[i + 2]);
  }
  AdjustContrast(flat, 0);
  EXPECT_EQ(flat.pixels, std::vector<uint8_t>(9 * 9 * 3, flat.pixels[0]));
}

TEST(AdjustHue, AThirdOfATurnMovesRedToGreen) {
  Image red(1, 1);
  red.pixels = {255, 0, 0};
  AdjustHue(red, 1.0 / 3);
  EXPECT_EQ(red.pixels, (std::vector<uint8_t>{0, 255, 0}));
}

TEST(GaussianBlur, AFlatPictureStaysAndAnEdgeIsSpread) {
  for (const double sigma : {0.2, 1.0, 2.0, 5.0, 40.0}) {
    Image flat(13, 7);
    std::fill(flat.pixels.begin(), flat.pixels.end(), uint8_t{77});
    GaussianBlur(flat, sigma);
    EXPECT_EQ(flat.pixels, std::vector<uint8_t>(13 * 7 * 3, 77));
    Image edge(40, 1);
    std::fill(edge.pixels.begin() + 60, edge.pixels.end(), uint8_t{255});
    GaussianBlur(edge, sigma);
    for (size_t x = 1; x < 40; ++x) EXPECT_GE(edge.pixels[3 * x], edge.pixels[3 * x - 3]);
    EXPECT_NEAR(edge.pixels[57] + edge.pixels[60], 255, 8);
  }
}

TEST(GaussianBlur, PicturesSmallerThanTheKernel) {
  for (const auto& [width, height] : {std::pair{1, 1}, {1, 5}, {5, 1}, {2, 2}}) {
    Image image = Noise(width, height);
    GaussianBlur(image, 8);
    EXPECT_EQ(image.width, width);
    EXPECT_EQ(image.height, height);
  }
}

TEST(Solarize, InvertsFromTheThresholdOn) {
  Image image(1, 1);
  image.pixels = {127, 128, 255};
  Solarize(image, 128);
  EXPECT_EQ(image.pixels, (std::vector<uint8_t>{127, 127, 0}));
}

// Every 37th of all colours, which meets each value of each channel many times.
Image ManyColours() {
  Image image((1 << 24) / 37, 1);
  for (int64_t x = 0; x < image.width; ++x) {
    const int64_t colour = x * 37;
    for (int c = 0; c < 3; ++c) image.at(x, 0)[c] = static_cast<uint8_t>(colour >> (8 * c));
  }
  return image;
}

TEST(ColorKernels, FastAndPlainLoopsAgree) {
  using namespace color;
  if (!HasAvx2()) GTEST_SKIP() << "this processor has no AVX2";
  const Image image = ManyColours();
  const auto compare = [&](const char* name, const auto& fast_loop, const auto& plain_loop) {
    Image fast = image, plain = image;
    fast_loop(fast.pixels.data(), fast.width);
    plain_loop(plain.pixels.data(), plain.width);
    for (size_t i = 0; i < fast.pixels.size(); ++i) {
      ASSERT_EQ(int{fast.pixels[i]}, int{plain.pixels[i]})
          << name << " of colour " << i / 3 * 37 << ", channel " << i % 3;
    }
  };
  for (const uint8_t shift : {0, 1, 100, 255}) {
    compare(
        "hue", [&](uint8_t* p, int64_t n) { ShiftHueAvx2(p, n, shift); },
        [&](uint8_t* p, int64_t n) { ShiftHuePlain(p, n, shift); });
  }
  for (const float factor : {0.0f, 0.37f, 1.9f, 60.0f}) {
    compare(
        "saturation", [&](uint8_t* p, int64_t n) { BlendToLumaAvx2(p, n, factor); },
        [&](uint8_t* p, int64_t n) { BlendToLumaPlain(p, n, factor); });
    compare(
        "contrast", [&](uint8_t* p, int64_t n) { BlendToValueAvx2(p, 3 * n, 119, factor); },
        [&](uint8_t* p, int64_t n) { BlendToValuePlain(p, 3 * n, 119, factor); });
  }
  EXPECT_EQ(SumLumaAvx2(image.pixels.data(), image.width), SumLumaPlain(image.pixels.data(), image.width));
}

TEST(ColorKernels, NothingBehindTheLastPixelIsTouched) {
  if (!HasAvx2()) GTEST_SKIP() << "this processor has no AVX2";
  for (int64_t width = 1; width < 40; ++width) {
    // A guard behind the pixels; the loops must leave it alone.
    std::vector<uint8_t> pixels(static_cast<size_t>(3 * width + 32), 0x5a);
    color::BlendToLumaAvx2(pixels.data(), width, 0.5f);
    color::ShiftHueAvx2(pixels.data(), width, 9);
    color::BlendToValueAvx2(pixels.data(), 3 * width, 9, 0.5f);
    for (size_t i = static_cast<size_t>(3 * width); i < pixels.size(); ++i) ASSERT_EQ(pixels[i], 0x5a) << width;
  }
}

}  // namespace
}  // namespace genview
