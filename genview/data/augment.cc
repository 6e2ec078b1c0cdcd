#include "genview/data/augment.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "genview/base/text.h"
#include "genview/image/color.h"

namespace genview {
namespace {

AugmentConfig Jittered(double brightness, double contrast, double saturation, double hue) {
  AugmentConfig c;
  c.jitter_p = 0.8;
  c.brightness = brightness;
  c.contrast = contrast;
  c.saturation = saturation;
  c.hue = hue;
  c.gray_p = 0.2;
  c.blur_p = 0.5;
  c.flip_p = 0.5;
  return c;
}

AugmentConfig MocoV2() { return Jittered(0.4, 0.4, 0.4, 0.1); }

AugmentConfig Simclr() {
  AugmentConfig c = Jittered(0.8, 0.8, 0.8, 0.2);
  c.scale_min = 0.08;
  return c;
}

AugmentConfig MocoV3(int view) {
  AugmentConfig c = Jittered(0.4, 0.4, 0.2, 0.1);
  c.blur_p = view == 0 ? 1.0 : 0.1;
  c.solarize_p = view == 0 ? 0.0 : 0.2;
  return c;
}

AugmentConfig Byol(int view) {
  AugmentConfig c = MocoV3(view);
  c.scale_min = 0.08;
  c.filter = Filter::kBicubic;
  return c;
}

AugmentConfig Swav(int view) {
  AugmentConfig c = Simclr();
  c.scale_min = view < 2 ? 0.14 : 0.05;
  if (view >= 2) c.scale_max = 0.14;
  if (view >= 2) c.size = 96;
  return c;
}

AugmentConfig LinearProbe() {
  AugmentConfig c;
  c.scale_min = 0.08;
  c.flip_p = 0.5;
  return c;
}

}  // namespace

const std::vector<std::string>& AugmentPresetNames() {
  static const std::vector<std::string> names{"moco-v2", "simsiam", "simclr", "byol", "moco-v3", "swav", "linear"};
  return names;
}

AugmentConfig AugmentPreset(std::string_view name, int view) {
  if (name == "moco-v2" || name == "simsiam") return MocoV2();
  if (name == "simclr") return Simclr();
  if (name == "byol") return Byol(view);
  if (name == "moco-v3") return MocoV3(view);
  if (name == "swav") return Swav(view);
  if (name == "linear") return LinearProbe();
  throw UsageError({.what = Format("there are no augmentations called \"{}\"", name),
                    .where = "augmentations",
                    .next = SuggestName(name, AugmentPresetNames())});
}

namespace {

int64_t RoundHalfToEven(double x) { return static_cast<int64_t>(std::nearbyint(x)); }

constexpr double kAspectMin = 3.0 / 4.0, kAspectMax = 4.0 / 3.0;

// The largest crop in the middle whose aspect is allowed, for pictures too long for any crop that was drawn.
Box MiddleCrop(int64_t width, int64_t height) {
  const double aspect = static_cast<double>(width) / static_cast<double>(height);
  Box box{0, 0, width, height};
  if (aspect < kAspectMin) box.height = RoundHalfToEven(static_cast<double>(width) / kAspectMin);
  if (aspect > kAspectMax) box.width = RoundHalfToEven(static_cast<double>(height) * kAspectMax);
  box.x = (width - box.width) / 2;
  box.y = (height - box.height) / 2;
  return box;
}

// torchvision's RandomResizedCrop: ten tries of an area share and a log-uniform aspect. `place(width, height)`: where a
// box of this size goes, {x, y}.
template <class Place>
Box SampleCrop(const AugmentConfig& config, Random& random, int64_t width, int64_t height, Place&& place) {
  const double area = static_cast<double>(width * height);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * random.Uniform(config.scale_min, config.scale_max);
    const double aspect = std::exp(random.Uniform(std::log(kAspectMin), std::log(kAspectMax)));
    const int64_t w = RoundHalfToEven(std::sqrt(target * aspect)), h = RoundHalfToEven(std::sqrt(target / aspect));
    if (w <= 0 || w > width || h <= 0 || h > height) continue;
    const auto [x, y] = place(w, h);
    return {x, y, w, h};
  }
  return MiddleCrop(width, height);
}

Box SampleCropAnywhere(const AugmentConfig& config, Seed seed, int64_t width, int64_t height) {
  Random random(seed);
  return SampleCrop(config, random, width, height, [&](int64_t w, int64_t h) {
    const int64_t y = random.Below(height - h + 1), x = random.Below(width - w + 1);
    return std::pair(x, y);
  });
}

// Beta(alpha, alpha) by Joehnk's rejection, which is quick for the small alphas that push towards 0 and 1.
double SampleBeta(Random& random, double alpha) {
  while (true) {
    const double x = std::pow(random.Uniform(), 1 / alpha), y = std::pow(random.Uniform(), 1 / alpha);
    if (x + y > 0 && x + y <= 1) return x / (x + y);
  }
}

Box SampleCropInBox(const AugmentConfig& config, Seed seed, int64_t width, int64_t height, double alpha,
                    const Box& box) {
  Random random(seed);
  const auto along = [&](int64_t from, int64_t extent, int64_t size, int64_t side) {
    const int64_t low = std::clamp<int64_t>(from - size / 2, 0, side - size);
    const int64_t high = std::clamp<int64_t>(from + extent - size / 2, 0, side - size);
    const auto step = static_cast<int64_t>(SampleBeta(random, alpha) * static_cast<double>(high - low + 1));
    return std::min(low + step, high);
  };
  return SampleCrop(config, random, width, height, [&](int64_t w, int64_t h) {
    const int64_t y = along(box.y, box.height, h, height), x = along(box.x, box.width, w, width);
    return std::pair(x, y);
  });
}

Box SampleCropWithShare(const AugmentConfig& config, Seed seed, int64_t width, int64_t height, double share,
                        const ForegroundArea& area) {
  constexpr uint64_t kTries = 20;
  Box best;
  double most = -1;
  for (uint64_t k = 0; k < kTries && most < share; ++k) {
    const Box box = SampleCropAnywhere(config, k == 0 ? seed : seed.With(k), width, height);
    const double held = area.ShareIn(box, width, height);
    if (held <= most) continue;
    most = held;
    best = box;
  }
  return best;
}

Box SampleCropByForeground(const AugmentConfig& config, Seed seed, int64_t width, int64_t height,
                           const ForegroundCrop& rule, const ForegroundArea& area) {
  if (area.empty()) return SampleCropAnywhere(config, seed, width, height);
  switch (rule.draw) {
    case CropDraw::kAnywhere:
      break;
    case CropDraw::kBox:
      return SampleCropInBox(config, seed, width, height, rule.alpha, area.Around(width, height));
    case CropDraw::kShare:
      return SampleCropWithShare(config, seed, width, height, rule.share, area);
  }
  return SampleCropAnywhere(config, seed, width, height);
}

double SampleFactor(Random& random, double spread) { return random.Uniform(std::max(0.0, 1 - spread), 1 + spread); }

void Jitter(const AugmentConfig& config, const AugmentParams& params, Image& image) {
  for (const int change : params.order) {
    if (change == 0 && config.brightness > 0) AdjustBrightness(image, params.brightness);
    if (change == 1 && config.contrast > 0) AdjustContrast(image, params.contrast);
    if (change == 2 && config.saturation > 0) AdjustSaturation(image, params.saturation);
    if (change == 3 && config.hue > 0) AdjustHue(image, params.hue);
  }
}

AugmentParams SampleRest(const AugmentConfig& config, Seed seed, const Box& crop) {
  AugmentParams params;
  params.crop = crop;
  // Everything is drawn whether it is used or not: a probability changes what happens, not what is drawn after it.
  Random colour(seed.With("colour"));
  params.jitter = colour.Chance(config.jitter_p);
  for (int64_t i = 3; i > 0; --i) {
    std::swap(params.order[static_cast<size_t>(i)], params.order[static_cast<size_t>(colour.Below(i + 1))]);
  }
  params.brightness = SampleFactor(colour, config.brightness);
  params.contrast = SampleFactor(colour, config.contrast);
  params.saturation = SampleFactor(colour, config.saturation);
  params.hue = colour.Uniform(-config.hue, config.hue);
  params.gray = colour.Chance(config.gray_p);
  const bool blur = colour.Chance(config.blur_p);
  const double sigma = colour.Uniform(config.sigma_min, config.sigma_max);
  params.sigma = blur ? sigma : 0;
  params.solarize = colour.Chance(config.solarize_p);
  params.flip = colour.Chance(config.flip_p);
  return params;
}

}  // namespace

AugmentParams SampleAugment(const AugmentConfig& config, Seed seed, int64_t width, int64_t height) {
  return SampleRest(config, seed, SampleCropAnywhere(config, seed.With("crop"), width, height));
}

AugmentParams SampleAugment(const AugmentConfig& config, Seed seed, int64_t width, int64_t height,
                            const ForegroundCrop& rule, const ForegroundArea& area) {
  return SampleRest(config, seed, SampleCropByForeground(config, seed.With("crop"), width, height, rule, area));
}

Image ApplyAugment(const AugmentConfig& config, const AugmentParams& params, const Image& image) {
  Image view = ResizeBox(image, params.crop, config.size, config.size, config.filter);
  if (params.jitter) Jitter(config, params, view);
  if (params.gray) Grayscale(view);
  if (params.sigma > 0) GaussianBlur(view, params.sigma);
  if (params.solarize) Solarize(view);
  if (params.flip) view = FlipHorizontal(view);
  return view;
}

}  // namespace genview
