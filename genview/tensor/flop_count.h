// How many floating-point operations the convolutions and matrix products of a piece of work are, and how many a second
// this machine can do.
#pragma once

#include <functional>

#include "genview/tensor/tensor.h"

namespace genview {

// Runs `work` once and counts: a multiplication and an addition are two. Backward passes within it are counted, too,
// with what fused attention computes again on its way back.
double CountFlops(const std::function<void()>& work);

// For work that LibTorch does not see.
void AddFlops(double flops);

// What one large product of square matrices reaches, in GFLOP/s: the best of several.
double MatmulGflops(at::Device device, at::ScalarType compute);

}  // namespace genview
