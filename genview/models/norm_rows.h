// What the loops of group_norm_kernels.cc and batch_norm_kernels.cc share: strips of channels in fp32 and bf16.
#pragma once

#include <cstdint>

#include "genview/base/bf16.h"

namespace genview::norm_rows {

using bf16::Load;
using bf16::Store;

// Loops over fp32 values vectorise; with 16-bit values in the same loop long ones do not. So bf16 rows go through a
// strip of fp32 values, in loops of their own.
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
    for (int64_t first = 0; first < c; first += kStrip)
      work(r * c + first, first, c - first < kStrip ? c - first : kStrip);
  }
}

// Rows of few channels, several to a strip: the same, where a table over channels is repeated until it fills a strip.
GENVIEW_INLINE int64_t RowsInStrip(int64_t c) { return c < kStrip ? kStrip / c : 1; }

template <int kTables>
struct Repeated {
  const float* table[kTables];
  float copy[kTables][kStrip];

  GENVIEW_INLINE Repeated(int64_t c, const float* const (&tables)[kTables]) {
    const int64_t times = RowsInStrip(c);
    for (int t = 0; t < kTables; ++t) {
      table[t] = times == 1 ? tables[t] : copy[t];
      if (times == 1) continue;
      for (int64_t r = 0; r < times; ++r) {
        for (int64_t i = 0; i < c; ++i) copy[t][r * c + i] = tables[t][i];
      }
    }
  }
};

// Sums per channel, of which a strip of several rows has a set each until the end.
template <int kSums>
struct RepeatedSums {
  float* sum[kSums];
  float copy[kSums][kStrip];
  float* const (&sums)[kSums];
  int64_t c;

  GENVIEW_INLINE RepeatedSums(int64_t channels, float* const (&into)[kSums]) : sums(into), c(channels) {
    const bool several = RowsInStrip(c) > 1;
    for (int s = 0; s < kSums; ++s) {
      sum[s] = several ? copy[s] : sums[s];
      for (int64_t i = 0; several && i < kStrip; ++i) copy[s][i] = 0;
    }
  }
  GENVIEW_INLINE void Finish() {
    const int64_t times = RowsInStrip(c);
    for (int s = 0; s < kSums && times > 1; ++s) {
      for (int64_t r = 0; r < times; ++r) {
        for (int64_t i = 0; i < c; ++i) sums[s][i] += copy[s][r * c + i];
      }
    }
  }
};

// ForEachStrip over strips of several rows. Whole strips have a length that the compiler knows.
template <class Work>
GENVIEW_INLINE void ForEachWideStrip(int64_t rows, int64_t c, Work&& work) {
  const int64_t times = RowsInStrip(c);
  if (times == 1) return ForEachStrip(rows, c, work);
  const int64_t count = rows * c, length = times * c;
  int64_t at = 0;
  if (length == kStrip) {
    for (; at + kStrip <= count; at += kStrip) work(at, 0, kStrip);
  } else {
    for (; at + length <= count; at += length) work(at, 0, length);
  }
  if (at < count) work(at, 0, count - at);
}

}  // namespace genview::norm_rows
