#include "genview/data/shapes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numbers>
#include <set>

#include "genview/base/hash.h"
#include "genview/data/shape_outline.h"

namespace genview {
namespace {

std::string_view Bytes(const std::vector<uint8_t>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(OnCircle, AgreesWithTheLibraryAllAround) {
  for (int i = -250; i <= 250; ++i) {
    const double turns = i / 100.0, angle = turns * 2 * std::numbers::pi;
    EXPECT_NEAR(OnCircle(turns).x, std::cos(angle), 1e-11) << turns;
    EXPECT_NEAR(OnCircle(turns).y, std::sin(angle), 1e-11) << turns;
  }
}

TEST(Affine, InverseUndoes) {
  const Affine pose{2, 0.5, -0.25, 3, 7, -4};
  const Point back = pose.Inverse()(pose({0.3, -0.8}));
  EXPECT_NEAR(back.x, 0.3, 1e-12);
  EXPECT_NEAR(back.y, -0.8, 1e-12);
}

TEST(Coverage, OfARectangleIsExact) {
  const std::vector<Contour> box{{{1.25, 1}, {3.5, 1}, {3.5, 2.5}, {1.25, 2.5}}};
  const auto share = Coverage(box, 4, 4);
  const std::vector<float> expected{0, 0, 0, 0, 0, 0.75f, 1, 0.5f, 0, 0.375f, 0.5f, 0.25f, 0, 0, 0, 0};
  for (size_t i = 0; i < share.size(); ++i) EXPECT_NEAR(share[i], expected[i], 1e-6) << i;
}

TEST(Coverage, OfARingLeavesTheHoleOut) {
  const auto share = Coverage(MovedBy({16, 0, 0, 16, 16, 16}, FormOutline(Form::kRing)), 32, 32);
  EXPECT_EQ(share[16 * 32 + 16], 0.0f);
  EXPECT_NEAR(share[16 * 32 + 28], 1.0f, 1e-6);
  double area = 0;
  for (const float s : share) area += s;
  EXPECT_NEAR(area, std::numbers::pi * (0.95 * 0.95 - 0.5 * 0.5) * 256, 3);
}

TEST(Coverage, OutsideThePictureIsCutOff) {
  const auto share = Coverage({{{-50, -50}, {50, -50}, {50, 50}, {-50, 50}}}, 3, 2);
  for (const float s : share) EXPECT_NEAR(s, 1.0f, 1e-6);
}

TEST(Shapes, EveryTenHoldEachClassOnce) {
  const ShapesConfig config{.count = 100, .size = 16, .seed = 3};
  for (int64_t block = 0; block < 10; ++block) {
    std::set<int64_t> labels;
    for (int64_t i = 0; i < 10; ++i) labels.insert(ShapeLabel(config, block * 10 + i));
    EXPECT_EQ(labels.size(), 10u);
  }
  EXPECT_EQ(DrawShape(config, 42).label, ShapeLabel(config, 42));
}

TEST(Shapes, DependOnSeedAndIndexAlone) {
  const ShapesConfig few{.count = 8, .size = 24, .seed = 5}, many{.count = 800, .size = 24, .seed = 5};
  EXPECT_EQ(DrawShape(few, 7).image.pixels, DrawShape(many, 7).image.pixels);
  EXPECT_NE(DrawShape(few, 6).image.pixels, DrawShape(few, 7).image.pixels);
  const ShapesConfig other{.count = 8, .size = 24, .seed = 6};
  EXPECT_NE(DrawShape(few, 7).image.pixels, DrawShape(other, 7).image.pixels);
}

// Pictures are part of every result made from them: their bytes must not change unnoticed, nor between processors.
TEST(Shapes, BytesArePinned) {
  std::string all, masks;
  for (int64_t i = 0; i < 40; ++i) {
    const auto picture = DrawShape({.count = 40, .size = 32, .seed = 0}, i);
    all += Bytes(picture.image.pixels);
    masks += Bytes(picture.mask.pixels);
  }
  EXPECT_EQ(Fingerprint(all), "b9f342d44a8bad405d9ecba973634ab7");
  EXPECT_EQ(Fingerprint(masks), "4097994728e33649c5a05de33864201d");
}

TEST(Shapes, ForegroundSharesSpreadFrom5To90Percent) {
  double low = 1, high = 0, sum = 0;
  constexpr int64_t kCount = 1000;
  for (int64_t i = 0; i < kCount; ++i) {
    const auto picture = DrawShape({.count = kCount, .size = 16, .seed = 1}, i);
    low = std::min(low, picture.foreground);
    high = std::max(high, picture.foreground);
    sum += picture.foreground;
  }
  EXPECT_GT(low, 0.02);
  EXPECT_LT(low, 0.08);
  EXPECT_GT(high, 0.88);
  EXPECT_NEAR(sum / kCount, 0.35, 0.05);
}

TEST(Shapes, ObjectIsBrighterThanTheBackgroundBehindIt) {
  int64_t brighter = 0;
  for (int64_t i = 0; i < 200; ++i) {
    const auto picture = DrawShape({.count = 200, .size = 32, .seed = 2}, i);
    double sum[2] = {}, count[2] = {};
    for (size_t p = 0; p < picture.mask.pixels.size(); ++p) {
      const int side = picture.mask.pixels[p] == 255;
      for (size_t k = 0; k < 3; ++k) sum[side] += picture.image.pixels[p * 3 + k];
      count[side] += 3;
    }
    brighter += sum[1] / count[1] > sum[0] / count[0] + 20;
  }
  EXPECT_GE(brighter, 190);
}

TEST(Shapes, LookTheSameAtTwiceTheSize) {
  for (int64_t i = 0; i < 20; ++i) {
    const auto small = DrawShape({.count = 20, .size = 32, .seed = 4}, i);
    const auto large = DrawShape({.count = 20, .size = 64, .seed = 4}, i);
    EXPECT_EQ(small.label, large.label);
    EXPECT_NEAR(small.foreground, large.foreground, 0.02);
    double difference = 0;
    for (int64_t y = 0; y < 32; ++y) {
      for (int64_t x = 0; x < 32; ++x) {
        for (int64_t k = 0; k < 3; ++k) {
          const int mean = (large.image.at(2 * x, 2 * y)[k] + large.image.at(2 * x + 1, 2 * y)[k] +
                            large.image.at(2 * x, 2 * y + 1)[k] + large.image.at(2 * x + 1, 2 * y + 1)[k]) /
                           4;
          difference += std::abs(mean - small.image.at(x, y)[k]);
        }
      }
    }
    EXPECT_LT(difference / (32 * 32 * 3), 8) << i;  // grain and edges differ, colours and places do not
  }
}

TEST(Caption, UsesTheVocabularyAndFits) {
  std::map<std::string, int> seen;
  for (int64_t i = 0; i < 300; ++i) {
    const auto picture = DrawShape({.count = 300, .size = 16, .seed = 9}, i);
    const auto tokens = TokenizeCaption(picture.caption);
    ASSERT_EQ(static_cast<int64_t>(tokens.size()), kCaptionLength);
    EXPECT_EQ(tokens[0], 1);
    for (const int64_t token : tokens) ++seen[CaptionWords()[static_cast<size_t>(token)]];
    EXPECT_NE(picture.caption.find(ShapeClasses()[static_cast<size_t>(picture.label)]), std::string::npos);
  }
  for (const auto& word : CaptionWords()) EXPECT_GT(seen[word], 0) << word;
}

TEST(Caption, TokensAreWordsInOrder) {
  const auto tokens = TokenizeCaption("a large red star, left");
  std::string text;
  for (const int64_t token : tokens) text += CaptionWords()[static_cast<size_t>(token)] + " ";
  EXPECT_EQ(text, "<start> a large red star left <end> <pad> <pad> <pad> <pad> <pad> <pad> <pad> <pad> <pad> ");
}

TEST(Caption, UnknownWordNamesTheNearest) {
  try {
    TokenizeCaption("a large rad star");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.text().next.find("red"), std::string::npos) << error.text().next;
  }
}

TEST(Caption, TooLongIsRefused) { EXPECT_THROW(TokenizeCaption("a a a a a a a a a a a a a a a"), Error); }

}  // namespace
}  // namespace genview
