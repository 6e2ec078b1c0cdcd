// The nearest rows of a bank by cosine.
//
//   NearestRows search(bank, /*k=*/200, ReadCpuFeatures().native_bf16);     // [M,D]
//   std::vector<std::vector<Neighbour>> found = search.Find(queries);       // [n,D]: the k nearest of each, nearest first
//
// Where bf16 is native a product in bf16 comes first. How far its cosines can be from the true ones is known, so
// whatever might be among the k nearest is kept, and the cosines of those few are computed in fp32: the same neighbours
// in a fraction of the time.
#pragma once

#include <vector>

#include "genview/tensor/tensor.h"

namespace genview {

struct Neighbour {
  float similarity;  // cosine
  int64_t place;     // row of the bank
};

class NearestRows {
 public:
  // bank: [M,D], M below 2^32, rows of any length. k: at most M. half: whether to look in bf16 first, where the machine
  // can.
  NearestRows(const Tensor& bank, int64_t k, bool half);
  // For each query k neighbours, of equally near ones the first; fewer where cosines are not numbers.
  std::vector<std::vector<Neighbour>> Find(const Tensor& queries) const;

 private:
  class Kept;
  bool Look(const Tensor& queries, bool half, std::vector<Kept>& kept) const;

  int64_t k_;
  Tensor rows_, half_rows_;  // [M,D] of length 1, fp32 and bf16; the latter undefined without `half`
  float lost_ = 0;           // length of the most that a row of half_rows_ lacks
};

}  // namespace genview
