#include "genview/ssl/losses.h"

#include <c10/core/GradMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

namespace genview {
namespace {

// Logits are cosines over a temperature: bf16 would keep three digits of them.
using NoAutocast = c10::impl::ExcludeDispatchKeyGuard;

Tensor Full(const Tensor& x) {
  return x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16 ? x.to(at::kFloat) : x;
}

// at::logsumexp, which from C++ cannot be asked for a shape alone (tensors without values).
Tensor LogSumExp(const Tensor& x, at::IntArrayRef dim, bool keepdim = false) {
  return x.is_meta() ? x.sum(dim, keepdim) : at::logsumexp(x, dim, keepdim);
}

// Less than any logit, and finite: a row that is masked everywhere has gradients all the same.
constexpr double kMasked = -1e30;

// -log( exp(positive) / (exp(positive) + sum exp(negatives)) ) where `negatives` is the logarithm of that sum. A pair
// that is told well has a loss near zero, which a difference of two large logarithms would lose.
Tensor NegativeLogShare(const Tensor& positive, const Tensor& negatives) {
  return at::softplus(negatives - positive, /*beta=*/1, /*threshold=*/40);
}

}  // namespace

Tensor UnitRows(const Tensor& x) {
  const Tensor full = Full(x);
  return full / full.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
}

Tensor InfoNce(const Tensor& q, const Tensor& k, const Tensor& queue, double temperature) {
  ExpectShape(q, {-1, -1}, "q");
  ExpectShape(k, {q.size(0), q.size(1)}, "k");
  ExpectShape(queue, {q.size(1), -1}, "queue");
  const NoAutocast full_precision(c10::autocast_dispatch_keyset);
  const Tensor anchor = UnitRows(q) * (1 / temperature);
  const Tensor positive = (anchor * UnitRows(k)).sum(1);     // [N]
  const Tensor negatives = at::matmul(anchor, Full(queue));  // [N,K]
  return NegativeLogShare(positive, LogSumExp(negatives, {1}));
}

Tensor NtXent(const Tensor& z1, const Tensor& z2, double temperature) {
  ExpectShape(z1, {-1, -1}, "z1");
  ExpectShape(z2, {z1.size(0), z1.size(1)}, "z2");
  const NoAutocast full_precision(c10::autocast_dispatch_keyset);
  const int64_t n = z1.size(0);
  const Tensor z = UnitRows(at::cat({z1, z2}));  // [2N,D]: row i and row N+i are a pair
  const Tensor logits = at::matmul(z, z.t()) * (1 / temperature);
  const Tensor positive = at::cat({logits.diagonal(n), logits.diagonal(-n)});    // [2N]
  const Tensor pairs = at::eye(n, z.options().dtype(at::kBool)).repeat({2, 2});  // and each row with itself
  const Tensor loss = NegativeLogShare(positive, LogSumExp(logits.masked_fill(pairs, kMasked), {1}));
  return 0.5 * (loss.narrow(0, 0, n) + loss.narrow(0, n, n));
}

Tensor MultiPositiveLoss(const Tensor& views, double temperature) {
  ExpectShape(views, {-1, -1, -1}, "z");
  const NoAutocast full_precision(c10::autocast_dispatch_keyset);
  const int64_t v = views.size(0), n = views.size(1);
  if (v == 2) return NtXent(views[0], views[1], temperature);
  const Tensor z = UnitRows(views.flatten(0, 1));  // [VN,D]: row u N + i is view u of picture i
  const Tensor own = at::eye(v * n, z.options().dtype(at::kBool));
  const Tensor all = LogSumExp((at::matmul(z, z.t()) * (1 / temperature)).masked_fill(own, kMasked), {1});
  // Mean over ordered pairs of different views of their cosine: (|sum of the views|^2 - V) / (V (V - 1)).
  const Tensor together = z.view({v, n, -1}).sum(0).square().sum(1);  // [N]
  const Tensor positive = (together - static_cast<double>(v)) * (1 / (temperature * static_cast<double>(v * (v - 1))));
  return all.view({v, n}).mean(0) - positive;
}

Tensor NegativeCosine(const Tensor& p, const Tensor& z) {
  ExpectShape(p, {-1, -1}, "p");
  ExpectShape(z, {p.size(0), p.size(1)}, "z");
  const NoAutocast full_precision(c10::autocast_dispatch_keyset);
  return -at::cosine_similarity(Full(p), Full(z), /*dim=*/1, /*eps=*/1e-8);
}

Tensor PrototypeScores(const Tensor& features, const Tensor& prototypes) {
  ExpectShape(prototypes, {-1, features.size(-1)}, "prototypes");
  const NoAutocast full_precision(c10::autocast_dispatch_keyset);
  return at::matmul(Full(features), Full(prototypes).t());
}

Tensor SinkhornAssignment(const Tensor& scores, double epsilon, int64_t iterations) {
  ExpectShape(scores, {-1, -1}, "scores");
  const NoAutocast full_precision(c10::autocast_dispatch_keyset);
  const c10::AutoGradMode no_grad(false);
  Tensor logits = Full(scores) * (1 / epsilon);  // [B,K]
  if (iterations == 0) {
    return (logits - LogSumExp(logits.flatten(), {0})).exp_() * static_cast<double>(scores.size(0));
  }
  // The first round on logarithms, so that scores of any size stay finite. After it a prototype's share is between 1/K
  // and B, which later rounds can divide by as it is.
  logits = logits - LogSumExp(logits, {0}, /*keepdim=*/true);
  Tensor shares = at::softmax(logits, 1);
  for (int64_t round = 1; round < iterations; ++round) {
    shares.div_(shares.sum(0, /*keepdim=*/true));
    shares.div_(shares.sum(1, /*keepdim=*/true));
  }
  return shares;
}

Tensor AssignmentCrossEntropy(const Tensor& assignment, const Tensor& scores, double temperature) {
  ExpectShape(assignment, {-1, -1}, "assignment");
  ExpectShape(scores, {assignment.size(0), assignment.size(1)}, "scores");
  const NoAutocast full_precision(c10::autocast_dispatch_keyset);
  return -(assignment * at::log_softmax(Full(scores) * (1 / temperature), 1)).sum(1);
}

Tensor SwappedPrediction(const Tensor& scores1, const Tensor& scores2, double temperature, double epsilon,
                         int64_t iterations) {
  ExpectShape(scores1, {-1, -1}, "scores1");
  ExpectShape(scores2, {scores1.size(0), scores1.size(1)}, "scores2");
  const Tensor second = AssignmentCrossEntropy(SinkhornAssignment(scores1, epsilon, iterations), scores2, temperature);
  const Tensor first = AssignmentCrossEntropy(SinkhornAssignment(scores2, epsilon, iterations), scores1, temperature);
  return 0.5 * (first + second);
}

Tensor MocoV3Loss(const Tensor& q1, const Tensor& q2, const Tensor& k1, const Tensor& k2, double temperature) {
  ExpectShape(q1, {-1, -1}, "q1");
  ExpectShape(q2, {q1.size(0), q1.size(1)}, "q2");
  ExpectShape(k1, {q1.size(0), q1.size(1)}, "k1");
  ExpectShape(k2, {q1.size(0), q1.size(1)}, "k2");
  const NoAutocast full_precision(c10::autocast_dispatch_keyset);
  const auto cross_entropy = [&](const Tensor& q, const Tensor& k) {
    const Tensor logits =
        at::matmul(UnitRows(q) * (1 / temperature), UnitRows(k).t());  // [N,N]: a pair is on the diagonal
    const Tensor pairs = at::eye(logits.size(0), logits.options().dtype(at::kBool));
    return NegativeLogShare(logits.diagonal(), LogSumExp(logits.masked_fill(pairs, kMasked), {1}));
  };
  return 2 * temperature * (cross_entropy(q1, k2) + cross_entropy(q2, k1));
}

}  // namespace genview
