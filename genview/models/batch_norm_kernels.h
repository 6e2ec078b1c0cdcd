// The loops of batch_norm.cc over rows of C channels, compiled for several instruction sets; one is chosen when the
// program starts. All give the same numbers: sums run over rows, so the width of a register changes no order.
#pragma once

#include "genview/models/norm_rows.h"

namespace genview::batch_norm {

// Of each channel: z = x * scale + shift.
struct Line {
  const float *scale, *shift;
};

// sum[c] += sum over rows of (x - center[c]); square[c] += of its square.
void AddMoments(const float* x, int64_t rows, int64_t c, const float* center, float* sum, float* square);
void AddMoments(const Bf16* x, int64_t rows, int64_t c, const float* center, float* sum, float* square);

// y = act(z + skip), act being max(., 0) with `relu`; without a skip (null): act(z).
void Apply(const float* x, const float* skip, float* y, int64_t rows, int64_t c, Line line, bool relu);
void Apply(const Bf16* x, const Bf16* skip, Bf16* y, int64_t rows, int64_t c, Line line, bool relu);

// Where the gradient behind the norm is that behind the ReLU: d = dy where z > 0 (all of it without `relu`).
// sum[c] += d; with_x[c] += d * (x - mean[c]).
void AddGradients(const float* x, const float* dy, int64_t rows, int64_t c, Line line, bool relu, const float* mean,
                  float* sum, float* with_x);
void AddGradients(const Bf16* x, const Bf16* dy, int64_t rows, int64_t c, Line line, bool relu, const float* mean,
                  float* sum, float* with_x);
// dx = d * scale[c] + x * by_x[c] + constant[c].
void BackThrough(const float* x, const float* dy, float* dx, int64_t rows, int64_t c, Line line, bool relu,
                 const float* by_x, const float* constant);
void BackThrough(const Bf16* x, const Bf16* dy, Bf16* dx, int64_t rows, int64_t c, Line line, bool relu,
                 const float* by_x, const float* constant);

// d = dy where y > 0, else 0: back through a ReLU by what came out of it.
void BackThroughRelu(const float* y, const float* dy, float* d, int64_t count);
void BackThroughRelu(const Bf16* y, const Bf16* dy, Bf16* d, int64_t count);

}  // namespace genview::batch_norm
