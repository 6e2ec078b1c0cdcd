// Products of fp32 matrices on processors that multiply bf16 many times as fast (AMX): each number is the sum of two in
// bf16, which keep 16 of its 24 binary digits, and of the four products of those the three that matter are added up in
// fp32 (Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision
// Computations", 2019). Results are 5e-6 of their norm away from the exact ones; 3e-7 those of fp32, 3e-3 those of
// bf16. About twice as fast as fp32.
//
//   if (SplitProductsPay(x, rows, outs, width)) y = SplitLinear(x, weight, bias);
#pragma once

#include "genview/base/bf16.h"
#include "genview/tensor/tensor.h"

namespace genview {

// Whether a product of x, seen as [rows,width], with [width,outs] is one of fp32 on such a processor, not trained
// through nor under autocast, and large enough.
bool SplitProductsPay(const Tensor& x, int64_t rows, int64_t outs, int64_t width);

// x [R,K] fp32 times weight [O,K] (fp32, bf16 or fp16), plus bias [O] (undefined: none) -> [R,O]. On all threads; the
// same bytes for any number of them.
Tensor SplitLinear(const Tensor& x, const Tensor& weight, const Tensor& bias);

// in = upper + lower, to 16 binary digits; infinities and NaN stay in `upper`.
void SplitValues(const float* in, int64_t count, Bf16* upper, Bf16* lower);

// A matrix of rows of K values; lower null: it is bf16.
struct SplitMatrix {
  const Bf16 *upper, *lower;
};
// c [rows, outs] (+)= a [rows,K] times b [outs,K], transposed; rows of c lie `stride` apart. In the calling thread,
// within at::parallel_for.
void SplitProduct(SplitMatrix a, int64_t rows, SplitMatrix b, int64_t outs, int64_t width, bool add, float* c,
                  int64_t stride);

}  // namespace genview
