// The random changes that make a view of a picture, as torchvision makes them of Pillow images, byte for byte.
//
//   const AugmentConfig config = AugmentPreset("moco-v2");
//   const AugmentParams params = SampleAugment(config, Seed(7).With("augment"), image.width, image.height);
//   const Image view = ApplyAugment(config, params, image);      // config.size x config.size
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "genview/base/random.h"
#include "genview/data/foreground_crop.h"
#include "genview/image/image.h"

namespace genview {

struct AugmentConfig {
  int64_t size = 224;                       // of the square view, in pixels
  double scale_min = 0.2, scale_max = 1.0;  // share of the picture that a crop takes; its aspect is 3/4 to 4/3
  Filter filter = Filter::kBilinear;        // that brings a crop to size
  double jitter_p = 0;                      // probability of the four changes below, in random order
  double brightness = 0, contrast = 0, saturation = 0, hue = 0;
  double gray_p = 0, blur_p = 0;
  double sigma_min = 0.1, sigma_max = 2.0;  // of the blur, in pixels
  double solarize_p = 0, flip_p = 0;
};

// What the papers use. `view` is 0 or 1, and 2 for swav's small crops; it matters where the views differ. Names:
// moco-v2, simsiam, simclr, byol, moco-v3, swav, linear (crop and flip, for training a classifier). Throws UsageError.
AugmentConfig AugmentPreset(std::string_view name, int view = 0);
const std::vector<std::string>& AugmentPresetNames();

// What was drawn for one view.
struct AugmentParams {
  Box crop;
  bool jitter = false;
  std::array<int, 4> order{0, 1, 2, 3};  // of brightness, contrast, saturation, hue
  double brightness = 1, contrast = 1, saturation = 1, hue = 0;
  bool gray = false;
  double sigma = 0;  // 0: no blur
  bool solarize = false, flip = false;
};

// width, height: of the picture. A function of its arguments alone.
AugmentParams SampleAugment(const AugmentConfig& config, Seed seed, int64_t width, int64_t height);

// The same, where the crop is to keep to the foreground. Sizes and aspects of boxes are drawn as ever.
// kBox: the crop's centre lies in the box around the foreground, nearer to its rims the smaller alpha is, as far as the
// picture's edges allow. kShare: the first of 20 crops that holds the share, or else the one that holds most; one that
// holds it at once is the crop that would have been drawn anyway. Without any foreground: as ever.
AugmentParams SampleAugment(const AugmentConfig& config, Seed seed, int64_t width, int64_t height,
                            const ForegroundCrop& rule, const ForegroundArea& area);

// Crop and resize, jitter, gray, blur, solarize, flip, in this order. The methods that flip before the colours get the
// same bytes: none of the changes knows left from right.
Image ApplyAugment(const AugmentConfig& config, const AugmentParams& params, const Image& image);

}  // namespace genview
