// One loss per pair, [N], so that a weight per pair multiplies outside and no method needs to know of it. The mean over
// the batch is the loss of the papers. Rows are brought to unit length here; half-precision inputs are computed in
// fp32.
#pragma once

#include "genview/tensor/tensor.h"

namespace genview {

// MoCo: -log( exp(q.k/T) / (exp(q.k/T) + sum_j exp(q.queue_j/T)) ).
// q, k: [N,D]; queue: [D,K], columns of unit length. -> [N]. Other pairs of the batch play no part.
Tensor InfoNce(const Tensor& q, const Tensor& k, const Tensor& queue, double temperature);

// SimCLR: the 2N rows are each other's negatives; the loss of a pair is the mean of its two directions, so its weight
// scales both and leaves its part as a negative alone. z1, z2: [N,D] -> [N].
Tensor NtXent(const Tensor& z1, const Tensor& z2, double temperature);

// Multi-positive: each of the V views of a picture is to give its V - 1 others, and no other of the batch's VN - 1
// rows, equal shares of a softmax; the loss of a picture is the mean over its views. With V = 2: NtXent. z: [V,N,D] ->
// [N].
Tensor MultiPositiveLoss(const Tensor& z, double temperature);

// -cos(p, z). p, z: [N,D] -> [N]. Gradients flow to both; SimSiam passes z detached.
Tensor NegativeCosine(const Tensor& p, const Tensor& z);

// SwAV: the second view's scores are to predict which prototypes the first view's were assigned to, and the other way
// round; the mean of both. scores: [N,K], cosines of features and prototypes. -> [N]. The assignment is made over the
// whole batch, knows no weights and lets no gradient through: a pair's weight scales its two cross-entropies alone.
Tensor SwappedPrediction(const Tensor& scores1, const Tensor& scores2, double temperature, double epsilon,
                         int64_t iterations);

// Its parts. Cosines of features [N,D] and prototypes [K,D], all of length 1 -> [N,K].
Tensor PrototypeScores(const Tensor& features, const Tensor& prototypes);
// Soft assignments of B features to K prototypes that all prototypes share about equally: `iterations` rounds
// of Sinkhorn-Knopp on exp(scores / epsilon), prototypes first. Every row sums to 1. [B,K] -> [B,K], without gradient.
Tensor SinkhornAssignment(const Tensor& scores, double epsilon, int64_t iterations);
// -sum_k assignment_k log softmax(scores / T)_k. [N,K], [N,K] -> [N].
Tensor AssignmentCrossEntropy(const Tensor& assignment, const Tensor& scores, double temperature);

// MoCo v3: 2T (CE(q1 -> k2) + CE(q2 -> k1)), each query among the keys of the whole batch; 2T keeps the gradient's size
// whatever the temperature. q1, q2, k1, k2: [N,D] -> [N]. A pair's weight scales its own two terms; as a negative it
// counts as it is. Gradients flow to the keys, too; the method passes them detached.
Tensor MocoV3Loss(const Tensor& q1, const Tensor& q2, const Tensor& k1, const Tensor& k2, double temperature);

// x [N,D] with rows of length 1, in fp32 or better.
Tensor UnitRows(const Tensor& x);

}  // namespace genview
