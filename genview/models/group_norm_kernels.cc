#include "genview/models/group_norm_kernels.h"

namespace genview::group_norm {
namespace {

using namespace norm_rows;

// e^x to about one unit in the last place: x = n ln 2 + r, a polynomial in r, times 2^n. NaN stays NaN.
GENVIEW_INLINE float ExpInline(float x) {
  x = x > 88.0f ? 88.0f : x;
  x = x < -87.0f ? -87.0f : x;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  const float biased = x * 1.44269504088896341f + kRound;
  const float n = biased - kRound;
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float y = p * (r * r) + r + 1.0f;
  const int32_t power = std::bit_cast<int32_t>(biased) - std::bit_cast<int32_t>(kRound);
  return y * std::bit_cast<float>((power + 127) << 23);
}

GENVIEW_INLINE float Sigmoid(float z) { return 1.0f / (1.0f + ExpInline(-z)); }

template <class T>
GENVIEW_INLINE void AddMomentsInline(const T* __restrict x, int64_t rows, int64_t c, const float* __restrict shift,
                                     float* __restrict sum, float* __restrict square) {
  for (int64_t r = 0; r < rows; ++r, x += c) {
    for (int64_t i = 0; i < c; ++i) {
      const float v = Load(x + i) - shift[i];
      sum[i] += v;
      square[i] += v * v;
    }
  }
}

template <bool kSilu, class T>
GENVIEW_INLINE void ApplyInline(const T* __restrict x, T* __restrict y, int64_t rows, int64_t c,
                                const float* __restrict scale, const float* __restrict shift) {
  for (int64_t r = 0; r < rows; ++r, x += c, y += c) {
    for (int64_t i = 0; i < c; ++i) {
      const float z = Load(x + i) * scale[i] + shift[i];
      Store(y + i, kSilu ? z * Sigmoid(z) : z);
    }
  }
}

template <bool kSilu, class T>
GENVIEW_INLINE void BackThroughActInline(const T* __restrict x, const T* __restrict dy, T* __restrict dz, int64_t rows,
                                         int64_t c, const float* __restrict scale, const float* __restrict shift,
                                         const float* __restrict mean, float* __restrict sum,
                                         float* __restrict with_x) {
  for (int64_t r = 0; r < rows; ++r, x += c, dy += c, dz += c) {
    for (int64_t i = 0; i < c; ++i) {
      const float v = Load(x + i);
      float d = Load(dy + i);
      if constexpr (kSilu) {
        const float z = v * scale[i] + shift[i], s = Sigmoid(z);
        d *= s * (1.0f + z * (1.0f - s));
      }
      Store(dz + i, d);
      sum[i] += d;
      with_x[i] += d * (v - mean[i]);
    }
  }
}

template <class T>
GENVIEW_INLINE void BackThroughNormInline(const T* __restrict x, T* __restrict dz, int64_t rows, int64_t c,
                                          const float* __restrict scale, const float* __restrict by_x,
                                          const float* __restrict constant) {
  for (int64_t r = 0; r < rows; ++r, x += c, dz += c) {
    for (int64_t i = 0; i < c; ++i) Store(dz + i, Load(dz + i) * scale[i] + Load(x + i) * by_x[i] + constant[i]);
  }
}

template <bool kSilu>
GENVIEW_INLINE void ApplyInStrips(const float* x, float* y, int64_t rows, int64_t c, const float* scale,
                                  const float* shift) {
  float in[kStrip];  // of its own: x may be y
  const Repeated<2> wide(c, {scale, shift});
  ForEachWideStrip(rows, c, [&](int64_t at, int64_t first, int64_t count) __attribute__((always_inline)) {
    for (int64_t i = 0; i < count; ++i) in[i] = x[at + i];
    ApplyInline<kSilu>(in, y + at, 1, count, wide.table[0] + first, wide.table[1] + first);
  });
}

template <bool kSilu>
GENVIEW_INLINE void ApplyInStrips(const Bf16* x, Bf16* y, int64_t rows, int64_t c, const float* scale,
                                  const float* shift) {
  float in[kStrip], out[kStrip];
  const Repeated<2> wide(c, {scale, shift});
  ForEachWideStrip(rows, c, [&](int64_t at, int64_t first, int64_t count) __attribute__((always_inline)) {
    Widen(x + at, count, in);
    ApplyInline<kSilu>(in, out, 1, count, wide.table[0] + first, wide.table[1] + first);
    Narrow(out, count, y + at);
  });
}

template <bool kSilu>
GENVIEW_INLINE void BackThroughActInStrips(const Bf16* x, const Bf16* dy, Bf16* dz, int64_t rows, int64_t c,
                                           const float* scale, const float* shift, const float* mean, float* sum,
                                           float* with_x) {
  float in[kStrip], back[kStrip], out[kStrip];
  ForEachStrip(rows, c, [&](int64_t at, int64_t first, int64_t count) __attribute__((always_inline)) {
    Widen(x + at, count, in);
    Widen(dy + at, count, back);
    BackThroughActInline<kSilu>(in, back, out, 1, count, scale + first, shift + first, mean + first, sum + first,
                                with_x + first);
    Narrow(out, count, dz + at);
  });
}

}  // namespace

GENVIEW_CLONES void AddMoments(const float* x, int64_t rows, int64_t c, const float* shift, float* sum, float* square) {
  AddMomentsInline(x, rows, c, shift, sum, square);
}
GENVIEW_CLONES void AddMoments(const Bf16* x, int64_t rows, int64_t c, const float* shift, float* sum, float* square) {
  AddMomentsInline(x, rows, c, shift, sum, square);
}

GENVIEW_CLONES void Apply(const float* x, float* y, int64_t rows, int64_t c, const float* scale, const float* shift,
                          bool silu) {
  if (silu) ApplyInStrips<true>(x, y, rows, c, scale, shift);
  else ApplyInStrips<false>(x, y, rows, c, scale, shift);
}
GENVIEW_CLONES void Apply(const Bf16* x, Bf16* y, int64_t rows, int64_t c, const float* scale, const float* shift,
                          bool silu) {
  if (silu) ApplyInStrips<true>(x, y, rows, c, scale, shift);
  else ApplyInStrips<false>(x, y, rows, c, scale, shift);
}

GENVIEW_CLONES void BackThroughAct(const float* x, const float* dy, float* dz, int64_t rows, int64_t c,
                                   const float* scale, const float* shift, const float* mean, bool silu, float* sum,
                                   float* with_x) {
  if (silu) BackThroughActInline<true>(x, dy, dz, rows, c, scale, shift, mean, sum, with_x);
  else BackThroughActInline<false>(x, dy, dz, rows, c, scale, shift, mean, sum, with_x);
}
GENVIEW_CLONES void BackThroughAct(const Bf16* x, const Bf16* dy, Bf16* dz, int64_t rows, int64_t c, const float* scale,
                                   const float* shift, const float* mean, bool silu, float* sum, float* with_x) {
  if (silu) BackThroughActInStrips<true>(x, dy, dz, rows, c, scale, shift, mean, sum, with_x);
  else BackThroughActInStrips<false>(x, dy, dz, rows, c, scale, shift, mean, sum, with_x);
}

GENVIEW_CLONES void BackThroughNorm(const float* x, float* dz, int64_t rows, int64_t c, const float* scale,
                                    const float* by_x, const float* constant) {
  BackThroughNormInline(x, dz, rows, c, scale, by_x, constant);
}
GENVIEW_CLONES void BackThroughNorm(const Bf16* x, Bf16* dz, int64_t rows, int64_t c, const float* scale,
                                    const float* by_x, const float* constant) {
  BackThroughNormInline(x, dz, rows, c, scale, by_x, constant);
}

float Exp(float x) { return ExpInline(x); }

}  // namespace genview::group_norm
