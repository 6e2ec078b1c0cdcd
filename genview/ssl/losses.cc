#include "genview/ssl/losses.h"

#include <c10/core/impl/LocalDispatchKeySet.h>

#include <limits>

namespace genview {
namespace {

// Logits are cosines over a temperature: bf16 would keep three digits of them.
using NoAutocast = c10::impl::ExcludeDispatchKeyGuard;

Tensor Full(const Tensor& x) {
  return x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16 ? x.to(at::kFloat) : x;
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
  const Tensor positive = (anchor * UnitRows(k)).sum(1);              // [N]
  const Tensor negatives = at::matmul(anchor, Full(queue));           // [N,K]
  return at::logaddexp(positive, at::logsumexp(negatives, {1})) - positive;
}

Tensor NtXent(const Tensor& z1, const Tensor& z2, double temperature) {
  ExpectShape(z1, {-1, -1}, "z1");
  ExpectShape(z2, {z1.size(0), z1.size(1)}, "z2");
  const NoAutocast full_precision(c10::autocast_dispatch_keyset);
  const int64_t n = z1.size(0);
  const Tensor z = UnitRows(at::cat({z1, z2}));                       // [2N,D]: row i and row N+i are a pair
  const Tensor own = at::eye(2 * n, z.options().dtype(at::kBool));
  const Tensor logits = (at::matmul(z, z.t()) * (1 / temperature)).masked_fill(own, -std::numeric_limits<double>::infinity());
  const Tensor positive = (z.narrow(0, 0, n) * z.narrow(0, n, n)).sum(1) * (1 / temperature);  // [N]
  const Tensor all = at::logsumexp(logits, {1});                      // [2N]
  return 0.5 * (all.narrow(0, 0, n) + all.narrow(0, n, n)) - positive;
}

Tensor NegativeCosine(const Tensor& p, const Tensor& z) {
  ExpectShape(p, {-1, -1}, "p");
  ExpectShape(z, {p.size(0), p.size(1)}, "z");
  const NoAutocast full_precision(c10::autocast_dispatch_keyset);
  return -at::cosine_similarity(Full(p), Full(z), /*dim=*/1, /*eps=*/1e-8);
}

}  // namespace genview
