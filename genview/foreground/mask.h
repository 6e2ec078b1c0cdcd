// From token scores to a mask of the picture itself.
#pragma once

#include <span>

#include "genview/image/preprocess.h"

namespace genview {

// `foreground`: grid * grid bytes, row-major, 0 or 1. The mask has the picture's size; each pixel takes the token that
// saw it (255: foreground), and pixels outside the encoder's crop are 0.
GrayImage MaskOfPicture(std::span<const uint8_t> foreground, int64_t grid, const Preprocess& preprocess, int64_t width,
                        int64_t height);

// Intersection over union of the pixels that are not 0. Two empty masks: 1. The sizes must be equal.
double MaskOverlap(const GrayImage& a, const GrayImage& b);

}  // namespace genview
