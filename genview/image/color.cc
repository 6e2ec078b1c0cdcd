#include "genview/image/color.h"

#include "genview/image/color_kernels.h"
#include "genview/image/simd.h"

namespace genview {
namespace {

int64_t Pixels(const Image& image) { return image.width * image.height; }

void BlendToValue(Image& image, uint8_t target, double factor) {
  const auto blend = HasAvx2() ? color::BlendToValueAvx2 : color::BlendToValuePlain;
  blend(image.pixels.data(), Pixels(image) * 3, target, static_cast<float>(factor));
}

}  // namespace

void AdjustBrightness(Image& image, double factor) { BlendToValue(image, 0, factor); }

void AdjustContrast(Image& image, double factor) {
  if (Pixels(image) == 0) return;
  const auto sum_luma = HasAvx2() ? color::SumLumaAvx2 : color::SumLumaPlain;
  const auto sum = static_cast<double>(sum_luma(image.pixels.data(), Pixels(image)));
  BlendToValue(image, static_cast<uint8_t>(sum / static_cast<double>(Pixels(image)) + 0.5), factor);
}

void AdjustSaturation(Image& image, double factor) {
  const auto blend = HasAvx2() ? color::BlendToLumaAvx2 : color::BlendToLumaPlain;
  blend(image.pixels.data(), Pixels(image), static_cast<float>(factor));
}

void Grayscale(Image& image) { AdjustSaturation(image, 0); }

void AdjustHue(Image& image, double factor) {
  GENVIEW_CHECK(factor >= -0.5 && factor <= 0.5, "a hue factor outside of -0.5 to 0.5");
  // Cut towards 0 first, then taken modulo 256.
  const auto shift = static_cast<uint8_t>(static_cast<int>(factor * 255));
  const auto shift_hue = HasAvx2() ? color::ShiftHueAvx2 : color::ShiftHuePlain;
  shift_hue(image.pixels.data(), Pixels(image), shift);
}

void Solarize(Image& image, int threshold) {
  for (uint8_t& value : image.pixels) value = value < threshold ? value : static_cast<uint8_t>(255 - value);
}

}  // namespace genview
