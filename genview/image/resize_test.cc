#include <gtest/gtest.h>

#include "genview/base/random.h"
#include "genview/image/image.h"
#include "genview/image/resize_kernels.h"
#include "genview/image/simd.h"

namespace genview {
namespace {

Image Noise(int64_t width, int64_t height) {
  Image image(width, height);
  Random random(Seed(static_cast<uint64_t>(width * 1000 + height)));
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random.Below(256));
  return image;
}

TEST(Resize, SameSizeIsACopy) {
  const Image image = Noise(13, 9);
  EXPECT_EQ(Resize(image, 13, 9, Filter::kBicubic).pixels, image.pixels);
}

TEST(Resize, OneColourStaysThatColour) {
  Image image(31, 17);
  std::fill(image.pixels.begin(), image.pixels.end(), uint8_t{201});
  for (const Filter filter : {Filter::kBilinear, Filter::kBicubic}) {
    for (const uint8_t value : Resize(image, 9, 40, filter).pixels) ASSERT_EQ(value, 201);
  }
}

TEST(ResizeBox, IsCropThenResize) {
  const Image image = Noise(53, 41);
  const Box boxes[] = {{0, 0, 53, 41}, {5, 7, 30, 20}, {40, 30, 13, 11},
                       {0, 40, 53, 1}, {52, 0, 1, 41}, {-3, -2, 20, 60}};
  for (const Box& box : boxes) {
    for (const Filter filter : {Filter::kBilinear, Filter::kBicubic}) {
      for (const auto& [width, height] : {std::pair{16, 16}, {80, 12}, {7, 70}, {30, 11}, {13, 20}}) {
        EXPECT_EQ(ResizeBox(image, box, width, height, filter).pixels,
                  Resize(Crop(image, box), width, height, filter).pixels);
      }
    }
  }
}

TEST(ResizeCrop, IsResizeThenCrop) {
  const Image image = Noise(37, 29);
  const Box windows[] = {{0, 0, 20, 15},   {3, 5, 8, 8},     {19, 14, 1, 1},
                         {-2, -3, 30, 30}, {15, 10, 10, 10}, {50, 0, 4, 4}};
  for (const Box& window : windows) {
    for (const auto& [width, height] : {std::pair{20, 15}, {37, 15}, {20, 29}, {37, 29}, {50, 60}}) {
      EXPECT_EQ(ResizeCrop(image, width, height, window, Filter::kBicubic).pixels,
                Crop(Resize(image, width, height, Filter::kBicubic), window).pixels);
    }
  }
}

TEST(ResizeCrop, AnExtremeShapeTakesLittleMemory) {
  // Whole, this would be 22 million by 224 pixels.
  const Image image = Noise(100000, 1);
  EXPECT_EQ(ResizeCrop(image, 22400000, 224, {11199888, 0, 224, 224}, Filter::kBicubic).pixels.size(), 224u * 224 * 3);
}

TEST(Resize, ExtremeScalesTakeThePlainPath) {
  const Image image = Noise(5000, 2);
  const Image one = Resize(image, 1, 1, Filter::kBilinear);
  EXPECT_NEAR(one.pixels[0], 127, 6);
}

// Random weights of up to the largest size that a filter gives, pixels of any value.
resize::Taps RandomTaps(int64_t outputs, int64_t inputs, int64_t count) {
  using namespace resize;
  Taps taps;
  Random random(Seed(7).With(static_cast<uint64_t>(count)));
  taps.capacity = (count + 1) / 2 * 2;
  taps.weight.resize(static_cast<size_t>(outputs * taps.capacity));
  for (int64_t i = 0; i < outputs; ++i) {
    const int64_t used = 1 + random.Below(count);
    taps.first.push_back(static_cast<int32_t>(random.Below(inputs - used + 1)));
    taps.count.push_back(static_cast<int32_t>(used));
    for (int64_t k = 0; k < used; ++k) {
      const double share = random.Uniform(-0.3, 1.1) / static_cast<double>(used);
      taps.weight[static_cast<size_t>(i * taps.capacity + k)] = static_cast<int32_t>(share * (1 << kFractionBits));
    }
  }
  Pack(taps);
  return taps;
}

TEST(Shrink, KeepsTheShapeAndLeavesSmallPicturesAlone) {
  const Image image = Noise(200, 90), wide = Shrink(image, 100), thin = Shrink(Noise(500, 1), 50);
  EXPECT_EQ(wide.width, 100);
  EXPECT_EQ(wide.height, 45);
  EXPECT_EQ(thin.height, 1);
  EXPECT_EQ(Shrink(image, 200).pixels, image.pixels);
}

TEST(ResizeKernels, FastAndPlainLoopsAgree) {
  using namespace resize;
  if (!HasAvx2()) GTEST_SKIP() << "this processor has no AVX2";
  const int64_t width = 300, height = 301;
  const Image image = Noise(width, height);
  for (const int64_t count : {1, 2, 3, 4, 5, 8, 13, 200}) {
    const Taps taps = RandomTaps(50, width, count);
    const int64_t rows = height - 1, stride = 50 * 3;
    std::vector<uint8_t> fast(static_cast<size_t>(rows * stride)), plain = fast;
    HorizontalAvx2(taps, {image.pixels.data(), width * 3, fast.data(), stride}, rows);
    HorizontalPlain(taps, {image.pixels.data(), width * 3, plain.data(), stride}, rows);
    ASSERT_EQ(fast, plain) << count << " taps";
    for (const int64_t bytes : {5, 32, 33, 100, 900}) {
      std::vector<uint8_t> fast_rows(static_cast<size_t>(50 * bytes)), plain_rows = fast_rows;
      VerticalAvx2(taps, {image.pixels.data(), width * 3, fast_rows.data(), bytes}, bytes);
      VerticalPlain(taps, {image.pixels.data(), width * 3, plain_rows.data(), bytes}, bytes);
      ASSERT_EQ(fast_rows, plain_rows) << count << " taps, " << bytes << " bytes";
    }
  }
}

}  // namespace
}  // namespace genview
