// The per-pixel loops of the colour changes, plain and with AVX2. Used by image/ alone. Pixels are R G B.
#pragma once

#include <cstdint>

namespace genview::color {

// Luma with the weights of ITU-R 601, as Pillow rounds it.
inline uint8_t Luma(const uint8_t* pixel) {
  return static_cast<uint8_t>((19595u * pixel[0] + 38470u * pixel[1] + 7471u * pixel[2] + 32768u) >> 16);
}

// target + factor * (value - target) for each byte, in float, cut to whole numbers of 0 to 255.
void BlendToValuePlain(uint8_t* bytes, int64_t count, uint8_t target, float factor);
void BlendToValueAvx2(uint8_t* bytes, int64_t count, uint8_t target, float factor);

// The same with the luma of each pixel as its target; factor 0 is grayscale.
void BlendToLumaPlain(uint8_t* pixels, int64_t count, float factor);
void BlendToLumaAvx2(uint8_t* pixels, int64_t count, float factor);

uint64_t SumLumaPlain(const uint8_t* pixels, int64_t count);
uint64_t SumLumaAvx2(const uint8_t* pixels, int64_t count);

// To hue, saturation and value of 8 bits each, hue + shift modulo 256, and back.
void ShiftHuePlain(uint8_t* pixels, int64_t count, uint8_t shift);
void ShiftHueAvx2(uint8_t* pixels, int64_t count, uint8_t shift);

}  // namespace genview::color
