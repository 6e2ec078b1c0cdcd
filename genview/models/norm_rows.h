// What the loops of group_norm_kernels.cc and batch_norm_kernels.cc share: strips of channels in fp32 and bf16.
#pragma once

#include <cstdint>

#include "genview/base/bf16.h"

namespace genview::norm_rows {

using bf16::Load;
using bf16::Store;

// Loops over fp32 values vectorise; with 16-bit values in the same loop long ones do not. So bf16 rows go through a strip of
// fp32 values, in loops of their own.
constexpr int64_t kStrip = 256;

GENVIEW_INLINE void Widen(const Bf16* __restrict in, int64_t count, float* __restrict out) {
  for (int64_t i = 0; i < count; ++i) out[i] = Load(in + i);
}
GENVIEW_INLINE void Narrow(const float* __restrict in, int64_t count, Bf16* __restrict out) {
  for (int64_t i = 0; i < count; ++i) Store(out + i, in[i]);
}

// work(place, first channel, count) for all strips of all rows.
template <class Work>
GENVIEW_INLINE void ForEachStrip(int64_t rows, int64_t c, Work&& work) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t first = 0; first < c; first += kStrip) work(r * c + first, first, c - first < kStrip ? c - first : kStrip);
  }
}

}  // namespace genview::norm_rows
