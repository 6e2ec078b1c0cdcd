// The running statistics of batch norms over a batch that is computed in parts. Each part begins at zero, so that what
// it leaves is its own contribution, and those of all parts are put together in their order: which process computed a
// part, and what it had computed before, plays no role.
//
//   RunningStatistics statistics(weights);
//   for (part : parts) { statistics.BeginPart(); Forward(part); of_parts.push_back(statistics.EndPart()); }
//   statistics.Apply(of_parts);
#pragma once

#include <vector>

#include "genview/models/weight_list.h"

namespace genview {

class RunningStatistics {
 public:
  // Finds `*running_mean`, `*running_var` and `*num_batches_tracked`. The list's tensors must outlive this.
  explicit RunningStatistics(const WeightList& weights);

  void BeginPart();
  Tensor EndPart() const;  // [S], fp32; empty for a network without batch norms
  // After a part with n passes through a norm: r <- (1 - m)^n r + (what they made of zero).
  void Apply(const std::vector<Tensor>& parts);

 private:
  WeightList means_, variances_, counts_;  // of each norm
  Tensor widths_;                          // [norms]: numbers that a norm keeps
  std::vector<Tensor> before_;  // values, then counts, as they were before the parts; empty: no part has begun
};

}  // namespace genview
