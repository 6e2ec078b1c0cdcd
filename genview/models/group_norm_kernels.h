// The loops of group_norm.cc over rows of C channels, compiled for several instruction sets; one is chosen when the
// program starts. All give the same numbers: sums run over rows, so the width of a register changes no order.
#pragma once

#include <cstdint>

#include "genview/models/norm_rows.h"

namespace genview::group_norm {

// sum[c] += sum over rows of (x - shift[c]); square[c] += of its square.
void AddMoments(const float* x, int64_t rows, int64_t c, const float* shift, float* sum, float* square);
void AddMoments(const Bf16* x, int64_t rows, int64_t c, const float* shift, float* sum, float* square);

// y = act(x * scale[c] + shift[c]). y may be x.
void Apply(const float* x, float* y, int64_t rows, int64_t c, const float* scale, const float* shift, bool silu);
void Apply(const Bf16* x, Bf16* y, int64_t rows, int64_t c, const float* scale, const float* shift, bool silu);

// dz = dy * act'(x * scale + shift), written to `dz`; sum[c] += dz; with_x[c] += dz * (x - mean[c]).
void BackThroughAct(const float* x, const float* dy, float* dz, int64_t rows, int64_t c, const float* scale,
                    const float* shift, const float* mean, bool silu, float* sum, float* with_x);
void BackThroughAct(const Bf16* x, const Bf16* dy, Bf16* dz, int64_t rows, int64_t c, const float* scale,
                    const float* shift, const float* mean, bool silu, float* sum, float* with_x);

// dx = dz * scale[c] + x * by_x[c] + constant[c], in place of dz.
void BackThroughNorm(const float* x, float* dz, int64_t rows, int64_t c, const float* scale, const float* by_x,
                     const float* constant);
void BackThroughNorm(const Bf16* x, Bf16* dz, int64_t rows, int64_t c, const float* scale, const float* by_x,
                     const float* constant);

float Exp(float x);  // as the loops compute it; for tests

}  // namespace genview::group_norm
