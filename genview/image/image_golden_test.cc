// Pillow's and torchvision's own results, byte by byte; tests/golden/make_image.py makes them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "genview/base/files.h"
#include "genview/base/json.h"
#include "genview/base/text.h"
#include "genview/image/color.h"
#include "genview/image/image.h"
#include "genview/image/preprocess.h"
#include "tests/source_dir.h"

namespace genview {
namespace {

const Path kFolder = SourceDir() / "tests/golden/image";

class ImageGolden : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    cases_ = ReadJson(kFolder / "cases.json")["cases"];
    expected_ = ReadFile(kFolder / "expected.bin");
  }

  static Image Stored(const Json& place) {
    Image image(place["width"], place["height"]);
    const auto offset = place["offset"].get<size_t>();
    EXPECT_LE(offset + image.pixels.size(), expected_.size());
    std::copy_n(expected_.begin() + static_cast<std::ptrdiff_t>(offset), image.pixels.size(), image.pixels.begin());
    return image;
  }

  static void Compare(const Image& ours, const Json& golden, int tolerance) {
    const Image theirs = Stored(golden);
    ASSERT_EQ(ours.width, theirs.width) << golden;
    ASSERT_EQ(ours.height, theirs.height) << golden;
    int largest = 0;
    size_t where = 0;
    for (size_t i = 0; i < ours.pixels.size(); ++i) {
      const int difference = std::abs(int{ours.pixels[i]} - int{theirs.pixels[i]});
      if (difference > largest) {
        largest = difference;
        where = i;
      }
    }
    EXPECT_LE(largest, tolerance) << golden << "\nbyte " << where << ": " << int{ours.pixels[where]} << " instead of "
                                  << int{theirs.pixels[where]};
  }

  // Runs `make` on the source of each case of this name; their number must not be 0.
  template <class Make>
  static void ForEach(const std::string& op, Make make) {
    int count = 0;
    for (const Json& golden : cases_) {
      if (golden["op"] != op) continue;
      ++count;
      Compare(make(Stored(golden["source"]), golden), golden, 0);
    }
    EXPECT_GT(count, 0);
  }

  static Json cases_;
  static std::string expected_;
};
Json ImageGolden::cases_;
std::string ImageGolden::expected_;

TEST_F(ImageGolden, EveryStoredFormIsDecodedAsPillowDoes) {
  int count = 0;
  for (const Json& golden : cases_) {
    if (golden["op"] != "decode") continue;
    ++count;
    const Outcome<Image> image = DecodeImage(ReadFile(kFolder / "files" / golden["file"].get<std::string>()));
    ASSERT_TRUE(image) << golden << image.reason();
    Compare(*image, golden, golden["tolerance"]);
  }
  EXPECT_GT(count, 40);
}

// What a form takes at its peak, pixel by pixel; that a picture is to be turned stands behind its pixels in one of
// them.
TEST_F(ImageGolden, DecodingIsRefusedBelowTheBytesThatAFormTakes) {
  constexpr int64_t kPng = 17 * 11, kPngRows = 17 * 20, kJpeg = 37 * 26, kWebp = 31 * 22;
  constexpr int64_t kBlocks = 5 * 4 + 2 * (3 * 2);  // of 64 coefficients: Y, and Cb and Cr at half the size
  const std::pair<const char*, int64_t> taken[] = {{"rgb.png", 3 * kPng + kPngRows},
                                                   {"rgba.png", 3 * kPng + kPngRows},
                                                   {"rgb-interlaced.png", 3 * kPng + kPngRows},
                                                   {"rgba-interlaced.png", 7 * kPng + 17 * 16},
                                                   {"exif-before.png", 6 * kPng},
                                                   {"exif-after.png", 6 * kPng},
                                                   {"plain-444.jpg", 3 * kJpeg},
                                                   {"plain-420.jpg", 3 * kJpeg},
                                                   {"progressive.jpg", 3 * kJpeg + kBlocks * 128},
                                                   {"orientation-6.jpg", 6 * 19 * 13},
                                                   {"cmyk.jpg", 3 * 21 * 18},
                                                   {"lossy.webp", 3 * kWebp},
                                                   {"lossy-alpha.webp", 10 * kWebp},
                                                   {"lossless.webp", 8 * kWebp},
                                                   {"lossless-alpha.webp", 9 * kWebp},
                                                   {"exif.webp", 8 * kWebp}};
  for (const auto& [name, bytes] : taken) {
    const std::string file = ReadFile(kFolder / "files" / name);
    EXPECT_TRUE(DecodeImage(file, bytes)) << name;
    EXPECT_NE(DecodeImage(file, bytes - 1).reason().find("to decode, more than"), std::string::npos) << name;
  }
}

TEST_F(ImageGolden, EveryStoredFormCutAnywhereIsRefused) {
  for (const Json& golden : cases_) {
    if (golden["op"] != "decode") continue;
    const std::string bytes = ReadFile(kFolder / "files" / golden["file"].get<std::string>());
    for (const double share : {0.0, 0.1, 0.4, 0.7, 0.9}) {
      const std::string cut = bytes.substr(0, static_cast<size_t>(share * static_cast<double>(bytes.size())));
      const Outcome<Image> image = DecodeImage(cut);
      EXPECT_FALSE(image) << golden << " cut to " << cut.size();
      EXPECT_FALSE(image.reason().empty());
    }
  }
}

TEST_F(ImageGolden, ResizeIsPillows) {
  ForEach("resize", [](const Image& source, const Json& golden) {
    const Box box{golden["box"][0], golden["box"][1], golden["box"][2], golden["box"][3]};
    return ResizeBox(source, box, golden["width"], golden["height"],
                     FilterOfName(golden["filter"].get<std::string>()).value());
  });
}

TEST_F(ImageGolden, ResizeAndCentreCropAreTorchvisions) {
  ForEach("preprocess", [](const Image& source, const Json& golden) {
    Preprocess p;
    p.size = golden["size"];
    p.resize_shortest = golden["shortest"];
    return ApplyGeometry(p, source);
  });
}

TEST_F(ImageGolden, ColoursAreTorchvisions) {
  using Change = void (*)(Image&, double);
  const std::pair<const char*, Change> changes[] = {
      {"brightness", AdjustBrightness},
      {"contrast", AdjustContrast},
      {"saturation", AdjustSaturation},
      {"hue", AdjustHue},
      {"gray", [](Image& image, double) { Grayscale(image); }},
      {"blur", GaussianBlur},
      {"solarize", [](Image& image, double threshold) { Solarize(image, static_cast<int>(threshold)); }}};
  for (const auto& [op, change] : changes) {
    ForEach(op, [change = change](Image image, const Json& golden) {
      change(image, golden.value("factor", 0.0));
      return image;
    });
  }
}

}  // namespace
}  // namespace genview
