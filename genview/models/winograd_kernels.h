// The loops of winograd.cc over channels, compiled for several instruction sets; one is chosen when the program starts.
// Channels are multiples of kLanes.
#pragma once

#include <cstdint>

namespace genview::winograd {

inline constexpr int64_t kLanes = 16;
inline constexpr int64_t kOut = 2;              // pixels per side that a tile gives
inline constexpr int64_t kIn = kOut + 2;        // and that it is made from
inline constexpr int64_t kNumbers = kIn * kIn;  // per tile and channel in between, as many as products

// pixels[kNumbers]: the tile's pixels, C values each. Number k of the tile goes to out + k * plane, C values.
void TransformPixels(const float* const* pixels, int64_t channels, float* out, int64_t plane);
// taps: [3,3,C] of one output channel.
void TransformTaps(const float* taps, int64_t channels, float* out, int64_t plane);
// Number k of the tile is at products + k * plane. out[kOut * kOut]: where its pixels go; null: nowhere.
void TransformBack(const float* products, int64_t plane, const float* bias, int64_t channels, float* const* out);

}  // namespace genview::winograd
