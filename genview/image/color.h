// The colour changes of the augmentations, in place, bit-equal to torchvision's on Pillow images.
//
//   AdjustBrightness(image, random.Uniform(0.6, 1.4));
//   GaussianBlur(image, random.Uniform(0.1, 2.0));
#pragma once

#include "genview/image/image.h"

namespace genview {

// Between black (0), unchanged (1) and beyond; factor >= 0.
void AdjustBrightness(Image& image, double factor);
// Between the mean gray of the picture (0), unchanged (1) and beyond.
void AdjustContrast(Image& image, double factor);
// Between its grayscale (0), unchanged (1) and beyond.
void AdjustSaturation(Image& image, double factor);
// Turns the hue by factor of a full turn, -0.5 to 0.5. Also 0 goes to HSV and back, which changes colours by rounding.
void AdjustHue(Image& image, double factor);

void Grayscale(Image& image);  // three equal channels

// Pillow's GaussianBlur(radius=sigma): three extended box blurs along each row, then along each column. 0: nothing.
void GaussianBlur(Image& image, double sigma);

void Solarize(Image& image, int threshold = 128);  // values of at least `threshold` are inverted

}  // namespace genview
