// Batch norm with what follows it in a residual network (the sum with a skip, the ReLU) in one go, for channels-last
// pictures on the CPU. As LibTorch's operations one after the other they read and write a picture half as often again.
#pragma once

#include "genview/models/blocks.h"

namespace genview {

enum class AfterBatchNorm { kNothing, kRelu };

// y = act(norm(x) + skip); skip: undefined for none, else like x [N,C,H,W]. Training: statistics of the batch, the
// running ones updated in place as BatchNorm does; otherwise the running ones. With gradients too, of x, skip, weight
// and bias. fp32 and bf16 in channels-last on the CPU take the fused loops, everything else LibTorch's operations. The
// result does not depend on the number of threads.
Tensor BatchNormThen(AfterBatchNorm act, const BatchNormWeights& w, const Tensor& x, bool training,
                     const Tensor& skip = {});

}  // namespace genview
