// torchvision's own views of Pillow images, byte by byte; tests/golden/make_data.py makes them.
#include <gtest/gtest.h>

#include <algorithm>

#include "genview/base/files.h"
#include "genview/base/json.h"
#include "genview/data/augment.h"
#include "tests/source_dir.h"

namespace genview {
namespace {

class AugmentGolden : public testing::Test {
 protected:
  AugmentGolden() {
    const Path folder = SourceDir() / "tests/golden/data";
    cases_ = ReadJson(folder / "views.json");
    bytes_ = ReadFile(folder / "views.bin");
  }

  Image Stored(const Json& place) const {
    Image image(place["width"], place["height"]);
    std::copy_n(bytes_.begin() + place["offset"].get<std::ptrdiff_t>(), image.pixels.size(), image.pixels.begin());
    return image;
  }

  static Box BoxOf(const Json& numbers) { return {numbers[0], numbers[1], numbers[2], numbers[3]}; }

  Json cases_;
  std::string bytes_;
};

TEST_F(AugmentGolden, ViewsAreTorchvisionsToTheByte) {
  ASSERT_GT(cases_["cases"].size(), 20u);
  for (const Json& golden : cases_["cases"]) {
    AugmentConfig config = AugmentPreset(golden["preset"].get<std::string>(), golden["view"]);
    config.size = golden["size"];
    AugmentParams params;
    params.crop = BoxOf(golden["crop"]);
    params.jitter = golden["jitter"];
    params.order = golden["order"];
    params.brightness = golden["brightness"];
    params.contrast = golden["contrast"];
    params.saturation = golden["saturation"];
    params.hue = golden["hue"];
    params.gray = golden["gray"];
    params.sigma = golden["sigma"];
    params.solarize = golden["solarize"];
    params.flip = golden["flip"];
    const Image ours = ApplyAugment(config, params, Stored(golden["source"])), theirs = Stored(golden["out"]);
    ASSERT_EQ(ours.pixels.size(), theirs.pixels.size());
    const auto differ = std::mismatch(ours.pixels.begin(), ours.pixels.end(), theirs.pixels.begin());
    EXPECT_TRUE(differ.first == ours.pixels.end()) << golden << "\nbyte " << differ.first - ours.pixels.begin() << ": "
                                                   << int{*differ.first} << " instead of " << int{*differ.second};
  }
}

TEST_F(AugmentGolden, PicturesTooLongForACropGetTorchvisionsFallback) {
  ASSERT_GT(cases_["fallbacks"].size(), 4u);
  for (const Json& golden : cases_["fallbacks"]) {
    const Box expected = BoxOf(golden["crop"]);
    const Box crop = SampleAugment(AugmentPreset("moco-v2"), Seed(1), golden["width"], golden["height"]).crop;
    EXPECT_EQ(std::vector<int64_t>({crop.x, crop.y, crop.width, crop.height}),
              std::vector<int64_t>({expected.x, expected.y, expected.width, expected.height}))
        << golden;
  }
}

}  // namespace
}  // namespace genview
