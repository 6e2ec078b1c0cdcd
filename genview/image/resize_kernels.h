// The two passes of a resize in fixed point: the plain loops, and the same sums with AVX2. Used by image/ alone.
#pragma once

#include <cstdint>
#include <vector>

namespace genview::resize {

inline constexpr int kFractionBits = 22;  // weights are whole numbers of 2^-22
inline constexpr int kReadPast = 16;      // so many bytes it may read, and not use, behind the pixels of a row
// Up to so many taps the 32-bit sums of the AVX2 loops cannot overflow; beyond, the plain loops are used.
inline constexpr int64_t kMostFastTaps = 2000;

struct TapPair {
  uint32_t low, high;  // of the first tap in the lower 16 bits, of the second in the upper
};

// Output i = sum over k < count[i] of weight[i * capacity + k] * input[first[i] + k].
struct Taps {
  int64_t capacity = 0;  // even; unused weights are 0
  std::vector<int32_t> first, count, weight;
  // Weights for multiply-add of 16-bit numbers, weight = (high << 12) + low. Each pair of taps is a TapPair.
  std::vector<TapPair> pairs;

  int64_t size() const { return static_cast<int64_t>(first.size()); }
};

void Pack(Taps& taps);  // fills in `pairs`

// Rows of R G B. `in` points to the first of `rows` rows that are `in_stride` bytes apart.
struct Rows {
  const uint8_t* in;
  int64_t in_stride;
  uint8_t* out;
  int64_t out_stride;
};

// `count` rows, each to taps.size() pixels. The AVX2 loop reads up to kReadPast bytes behind a row.
void HorizontalPlain(const Taps& taps, const Rows& rows, int64_t count);
void HorizontalAvx2(const Taps& taps, const Rows& rows, int64_t count);

// taps.size() rows of `bytes` bytes each.
void VerticalPlain(const Taps& taps, const Rows& rows, int64_t bytes);
void VerticalAvx2(const Taps& taps, const Rows& rows, int64_t bytes);

}  // namespace genview::resize
