// The rows of a step in another order: of its parts, which processes share as trainer.h says, each has rows of all.
//
//   const ShuffledParts shuffled(Permutation(seed, rows), parts, together);
//   const std::vector<Tensor> pictures = shuffled.Deal(of_own_parts);   // parts of the new order, with the same numbers
//   const Tensor keys = shuffled.Collect(made_of_them);                 // [rows,...] of all parts, in the old order
//
// All processes make the same calls. What comes out does not depend on how many there are.
#pragma once

#include <vector>

#include "genview/dist/tensor_group.h"

namespace genview {

class ShuffledParts {
 public:
  // Row i of the new order is row order[i] of the old one. `parts` divides them; `together` must outlive this.
  ShuffledParts(const std::vector<int64_t>& order, int64_t parts, TensorGroup& together);

  // own: this process's parts on the CPU, [n,...] each.
  std::vector<Tensor> Deal(const std::vector<Tensor>& own) const;
  // own: what was made of each part that Deal gave, [n,...] in fp32 or less, on any device: so is the result.
  Tensor Collect(const std::vector<Tensor>& own) const;

 private:
  TensorGroup& together_;
  int64_t parts_, rows_, width_ = 0;  // width: rows that one process sends another, at most
  Tensor order_;                      // [rows]
  Tensor sent_;                       // [W width]: of this process's rows those that go to each process
  Tensor taken_;                      // of the [W width] rows that came those of this process's new parts, in order
};

}  // namespace genview
