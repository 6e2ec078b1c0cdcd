// Group norm with SiLU behind it in one go, for channels-last pictures on the CPU: generators that make views. As two
// of LibTorch's operations they take a quarter of a small UNet's time, here a twentieth. `generator train` keeps plain
// order on the CPU, and takes LibTorch's.
#pragma once

#include "genview/models/blocks.h"

namespace genview {

enum class AfterNorm { kNothing, kSilu };

// y = act((x - mean) / sqrt(var + eps) * weight + bias), statistics over each group of channels of each row. x:
// [N,C,H,W]. With gradients too. fp32 and bf16 in channels-last on the CPU take the fused loops, everything else
// at::group_norm. The result does not depend on the number of threads. Without gradients it lies where x was, if x is
// given away (std::move) and nobody else has it.
Tensor GroupNormThen(AfterNorm act, const NormWeights& w, Tensor x, int64_t groups, double eps);

}  // namespace genview
