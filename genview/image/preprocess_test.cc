#include "genview/image/preprocess.h"

#include <gtest/gtest.h>

namespace genview {
namespace {

// Each pixel holds its own column and row.
Image Grid(int64_t width, int64_t height) {
  Image image(width, height);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      image.at(x, y)[0] = static_cast<uint8_t>(x + 1);
      image.at(x, y)[1] = static_cast<uint8_t>(y + 1);
    }
  }
  return image;
}

Preprocess CropOnly(int64_t size, bool floor) {
  Preprocess p;
  p.size = size;
  p.resize_shortest = 0;
  p.floor_crop = floor;
  return p;
}

// Column (first) of the picture that is the leftmost of the crop; 0: black.
int FirstColumn(int64_t width, int64_t size, bool floor) {
  return ApplyGeometry(CropOnly(size, floor), Grid(width, size)).at(0, 0)[0];
}

TEST(ApplyGeometry, HalvesAreRoundedToEven) {
  EXPECT_EQ(FirstColumn(11, 10, false), 1);  // offset 0.5 -> 0
  EXPECT_EQ(FirstColumn(13, 10, false), 3);  // offset 1.5 -> 2
  EXPECT_EQ(FirstColumn(15, 10, false), 3);  // offset 2.5 -> 2
  EXPECT_EQ(FirstColumn(14, 10, false), 3);
}

TEST(ApplyGeometry, HuggingFaceRoundsDown) {
  EXPECT_EQ(FirstColumn(11, 10, true), 1);
  EXPECT_EQ(FirstColumn(13, 10, true), 2);
  EXPECT_EQ(FirstColumn(15, 10, true), 3);
}

TEST(ApplyGeometry, SmallPicturesGetABlackFrame) {
  const Image rounded = ApplyGeometry(CropOnly(10, false), Grid(7, 10));
  EXPECT_EQ(rounded.at(0, 0)[0], 0);
  EXPECT_EQ(rounded.at(1, 0)[0], 1);  // torchvision: 3 / 2 black columns before, the rest behind
  const Image floored = ApplyGeometry(CropOnly(10, true), Grid(7, 10));
  EXPECT_EQ(floored.at(1, 0)[0], 0);
  EXPECT_EQ(floored.at(2, 0)[0], 1);  // Hugging Face: two before
}

TEST(ApplyGeometry, ShortestSideKeepsTheAspectAndSquashDoesNot) {
  Preprocess p;
  p.size = p.resize_shortest = 8;
  const Image image = Grid(40, 16);
  EXPECT_EQ(ApplyGeometry(p, image).pixels, Crop(Resize(image, 20, 8, p.filter), {6, 0, 8, 8}).pixels);
  p.squash = true;
  EXPECT_EQ(ApplyGeometry(p, image).pixels, Resize(image, 8, 8, p.filter).pixels);
}

TEST(ApplyGeometry, LongestSideFitsBetweenBars) {
  Preprocess p;
  p.size = 8;
  p.pad = true;
  p.fill = 9;
  const Image seen = ApplyGeometry(p, Grid(40, 16));  // 8 x 3 pixels, two rows above
  EXPECT_EQ(seen.at(3, 1)[1], 9);
  EXPECT_EQ(seen.at(3, 5)[2], 9);
  EXPECT_EQ(seen.at(3, 2)[2], 0);
  EXPECT_EQ(GeometryOf(p, 1000, 1).height, 1);
}

TEST(Normalise, BothOrdersHoldTheSameValues) {
  const Image image = Grid(5, 3);
  std::vector<float> planes(45), interleaved(45);
  Normalise(image, kImagenetMean, kImagenetStd, planes);
  NormaliseChannelsLast(image, kImagenetMean, kImagenetStd, interleaved);
  for (size_t i = 0; i < 15; ++i) {
    for (size_t c = 0; c < 3; ++c) {
      const float value =
          (static_cast<float>(image.pixels[3 * i + c]) / 255.0f - static_cast<float>(kImagenetMean[c])) /
          static_cast<float>(kImagenetStd[c]);
      EXPECT_EQ(planes[15 * c + i], value);
      EXPECT_EQ(interleaved[3 * i + c], value);
    }
  }
}

TEST(Preprocess, JsonRoundTrip) {
  Preprocess p;
  p.size = 96;
  p.resize_shortest = 110;
  p.filter = Filter::kBilinear;
  p.floor_crop = true;
  p.mean = kImagenetMean;
  for (const Filter filter : {Filter::kBilinear, Filter::kLanczos, Filter::kNearest}) {
    p.filter = filter;
    EXPECT_EQ(Preprocess::FromJson(p.ToJson(), "test").ToJson(), p.ToJson());
  }
  p.resize_width = 100;
  p.resize_height = 120;
  EXPECT_EQ(Preprocess::FromJson(p.ToJson(), "test").resize_height, 120);
  p.pad = true;
  p.fill = 200;
  EXPECT_EQ(Preprocess::FromJson(p.ToJson(), "test").fill, 200);
  EXPECT_EQ(Preprocess::FromJson(Json::object(), "test").ToJson(), Preprocess().ToJson());
}

TEST(Preprocess, BadJsonIsAnErrorWithItsPlace) {
  for (const char* text :
       {R"({"size": 0})", R"({"size": 1e9})", R"({"std": [1, 0, 1]})", R"({"mean": [1, 2]})", R"([])",
        R"({"filter": "sharp"})", R"({"resize_shortest": -1})", R"({"fill": 256})", R"({"resize_width": 40})"}) {
    try {
      Preprocess::FromJson(Json::parse(text), "config.json");
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_NE(error.text().where.find("config.json"), std::string::npos) << text;
    }
  }
}

}  // namespace
}  // namespace genview
