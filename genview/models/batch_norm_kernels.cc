#include "genview/models/batch_norm_kernels.h"

namespace genview::batch_norm {
namespace {

using namespace norm_rows;

// Strips of fp32 are used where they lie; those of bf16 pass through a buffer.
GENVIEW_INLINE const float* Read(const float* in, int64_t, float*) { return in; }
GENVIEW_INLINE const float* Read(const Bf16* in, int64_t count, float* buffer) {
  Widen(in, count, buffer);
  return buffer;
}
GENVIEW_INLINE float* Target(float* out, float*) { return out; }
GENVIEW_INLINE float* Target(Bf16*, float* buffer) { return buffer; }
GENVIEW_INLINE void Write(const float*, int64_t, float*) {}
GENVIEW_INLINE void Write(const float* buffer, int64_t count, Bf16* out) { Narrow(buffer, count, out); }

GENVIEW_INLINE void MomentsOfStrip(const float* __restrict x, int64_t count, const float* __restrict center,
                                   float* __restrict sum, float* __restrict square) {
  for (int64_t i = 0; i < count; ++i) {
    const float v = x[i] - center[i];
    sum[i] += v;
    square[i] += v * v;
  }
}

template <bool kRelu>
GENVIEW_INLINE void ApplyToStrip(const float* __restrict x, const float* __restrict skip, float* __restrict y,
                                 int64_t count, const float* __restrict scale, const float* __restrict shift) {
  if (skip == nullptr) {
    for (int64_t i = 0; i < count; ++i) {
      const float z = x[i] * scale[i] + shift[i];
      y[i] = kRelu && z < 0 ? 0.0f : z;
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      const float z = x[i] * scale[i] + shift[i] + skip[i];
      y[i] = kRelu && z < 0 ? 0.0f : z;
    }
  }
}

template <bool kRelu>
GENVIEW_INLINE void GradientsOfStrip(const float* __restrict x, const float* __restrict dy, int64_t count,
                                     const float* __restrict scale, const float* __restrict shift,
                                     const float* __restrict mean, float* __restrict sum, float* __restrict with_x) {
  for (int64_t i = 0; i < count; ++i) {
    const float d = kRelu && !(x[i] * scale[i] + shift[i] > 0) ? 0.0f : dy[i];
    sum[i] += d;
    with_x[i] += d * (x[i] - mean[i]);
  }
}

template <bool kRelu>
GENVIEW_INLINE void BackThroughStrip(const float* __restrict x, const float* __restrict dy, float* __restrict dx,
                                     int64_t count, const float* __restrict scale, const float* __restrict shift,
                                     const float* __restrict by_x, const float* __restrict constant) {
  for (int64_t i = 0; i < count; ++i) {
    const float d = kRelu && !(x[i] * scale[i] + shift[i] > 0) ? 0.0f : dy[i];
    dx[i] = d * scale[i] + x[i] * by_x[i] + constant[i];
  }
}

template <class T>
GENVIEW_INLINE void AddMomentsInline(const T* x, int64_t rows, int64_t c, const float* center, float* sum,
                                     float* square) {
  float in[kStrip];
  const Repeated<1> wide(c, {center});
  float* const into[] = {sum, square};
  RepeatedSums<2> sums(c, into);
  ForEachWideStrip(rows, c, [&](int64_t at, int64_t first, int64_t count) __attribute__((always_inline)) {
    MomentsOfStrip(Read(x + at, count, in), count, wide.table[0] + first, sums.sum[0] + first, sums.sum[1] + first);
  });
  sums.Finish();
}

template <bool kRelu, class T>
GENVIEW_INLINE void ApplyInline(const T* x, const T* skip, T* y, int64_t rows, int64_t c, Line line) {
  float in[kStrip], more[kStrip], out[kStrip];
  const Repeated<2> wide(c, {line.scale, line.shift});
  ForEachWideStrip(rows, c, [&](int64_t at, int64_t first, int64_t count) __attribute__((always_inline)) {
    float* target = Target(y + at, out);
    ApplyToStrip<kRelu>(Read(x + at, count, in), skip == nullptr ? nullptr : Read(skip + at, count, more), target,
                        count, wide.table[0] + first, wide.table[1] + first);
    Write(target, count, y + at);
  });
}

template <bool kRelu, class T>
GENVIEW_INLINE void AddGradientsInline(const T* x, const T* dy, int64_t rows, int64_t c, Line line, const float* mean,
                                       float* sum, float* with_x) {
  float in[kStrip], back[kStrip];
  const Repeated<3> wide(c, {line.scale, line.shift, mean});
  float* const into[] = {sum, with_x};
  RepeatedSums<2> sums(c, into);
  ForEachWideStrip(rows, c, [&](int64_t at, int64_t first, int64_t count) __attribute__((always_inline)) {
    GradientsOfStrip<kRelu>(Read(x + at, count, in), Read(dy + at, count, back), count, wide.table[0] + first,
                            wide.table[1] + first, wide.table[2] + first, sums.sum[0] + first, sums.sum[1] + first);
  });
  sums.Finish();
}

template <bool kRelu, class T>
GENVIEW_INLINE void BackThroughInline(const T* x, const T* dy, T* dx, int64_t rows, int64_t c, Line line,
                                      const float* by_x, const float* constant) {
  float in[kStrip], back[kStrip], out[kStrip];
  const Repeated<4> wide(c, {line.scale, line.shift, by_x, constant});
  ForEachWideStrip(rows, c, [&](int64_t at, int64_t first, int64_t count) __attribute__((always_inline)) {
    float* target = Target(dx + at, out);
    BackThroughStrip<kRelu>(Read(x + at, count, in), Read(dy + at, count, back), target, count, wide.table[0] + first,
                            wide.table[1] + first, wide.table[2] + first, wide.table[3] + first);
    Write(target, count, dx + at);
  });
}

}  // namespace

// Clones cannot be templates.
GENVIEW_CLONES void AddMoments(const float* x, int64_t rows, int64_t c, const float* center, float* sum,
                               float* square) {
  AddMomentsInline(x, rows, c, center, sum, square);
}
GENVIEW_CLONES void AddMoments(const Bf16* x, int64_t rows, int64_t c, const float* center, float* sum, float* square) {
  AddMomentsInline(x, rows, c, center, sum, square);
}

GENVIEW_CLONES void Apply(const float* x, const float* skip, float* y, int64_t rows, int64_t c, Line line, bool relu) {
  if (relu) ApplyInline<true>(x, skip, y, rows, c, line);
  else ApplyInline<false>(x, skip, y, rows, c, line);
}
GENVIEW_CLONES void Apply(const Bf16* x, const Bf16* skip, Bf16* y, int64_t rows, int64_t c, Line line, bool relu) {
  if (relu) ApplyInline<true>(x, skip, y, rows, c, line);
  else ApplyInline<false>(x, skip, y, rows, c, line);
}

GENVIEW_CLONES void AddGradients(const float* x, const float* dy, int64_t rows, int64_t c, Line line, bool relu,
                                 const float* mean, float* sum, float* with_x) {
  if (relu) AddGradientsInline<true>(x, dy, rows, c, line, mean, sum, with_x);
  else AddGradientsInline<false>(x, dy, rows, c, line, mean, sum, with_x);
}
GENVIEW_CLONES void AddGradients(const Bf16* x, const Bf16* dy, int64_t rows, int64_t c, Line line, bool relu,
                                 const float* mean, float* sum, float* with_x) {
  if (relu) AddGradientsInline<true>(x, dy, rows, c, line, mean, sum, with_x);
  else AddGradientsInline<false>(x, dy, rows, c, line, mean, sum, with_x);
}

GENVIEW_CLONES void BackThrough(const float* x, const float* dy, float* dx, int64_t rows, int64_t c, Line line,
                                bool relu, const float* by_x, const float* constant) {
  if (relu) BackThroughInline<true>(x, dy, dx, rows, c, line, by_x, constant);
  else BackThroughInline<false>(x, dy, dx, rows, c, line, by_x, constant);
}
GENVIEW_CLONES void BackThrough(const Bf16* x, const Bf16* dy, Bf16* dx, int64_t rows, int64_t c, Line line, bool relu,
                                const float* by_x, const float* constant) {
  if (relu) BackThroughInline<true>(x, dy, dx, rows, c, line, by_x, constant);
  else BackThroughInline<false>(x, dy, dx, rows, c, line, by_x, constant);
}

GENVIEW_CLONES void BackThroughRelu(const float* y, const float* dy, float* d, int64_t count) {
  for (int64_t i = 0; i < count; ++i) d[i] = y[i] > 0 ? dy[i] : 0.0f;
}
GENVIEW_CLONES void BackThroughRelu(const Bf16* y, const Bf16* dy, Bf16* d, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {  // signs of 16-bit integers are those of floats
    const auto kept = static_cast<uint16_t>(-static_cast<int>(static_cast<int16_t>(y[i].bits) > 0));
    d[i].bits = dy[i].bits & kept;
  }
}

}  // namespace genview::batch_norm
