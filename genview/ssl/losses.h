// One loss per pair, [N], so that a weight per pair multiplies outside and no method needs to know of it. The mean over
// the batch is the loss of the papers. Rows are brought to unit length here; half-precision inputs are computed in fp32.
#pragma once

#include "genview/tensor/tensor.h"

namespace genview {

// MoCo: -log( exp(q.k/T) / (exp(q.k/T) + sum_j exp(q.queue_j/T)) ).
// q, k: [N,D]; queue: [D,K], columns of unit length. -> [N]. Other pairs of the batch play no part.
Tensor InfoNce(const Tensor& q, const Tensor& k, const Tensor& queue, double temperature);

// SimCLR: the 2N rows are each other's negatives; the loss of a pair is the mean of its two directions, so its weight
// scales both and leaves its part as a negative alone. z1, z2: [N,D] -> [N].
Tensor NtXent(const Tensor& z1, const Tensor& z2, double temperature);

// -cos(p, z). p, z: [N,D] -> [N]. Gradients flow to both; SimSiam passes z detached.
Tensor NegativeCosine(const Tensor& p, const Tensor& z);

// x [N,D] with rows of length 1, in fp32 or better.
Tensor UnitRows(const Tensor& x);

}  // namespace genview
