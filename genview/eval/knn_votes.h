// Weighted k nearest neighbours (Z. Wu et al., "Unsupervised feature learning via non-parametric instance
// discrimination", 2018): the k most similar rows vote for their class with exp(cosine / T).
//
//   Tensor votes = KnnVotes(bank, labels, queries, classes, /*k=*/20, /*temperature=*/0.07);   // [N,classes]
//   Hits hits = CountHits(votes, query_labels);
//   std::vector<Tensor> of_each = KnnVotes(bank, labels, queries, classes, {1, 5, 20}, 0.07);        // for several k at once
#pragma once

#include <vector>

#include "genview/tensor/tensor.h"

namespace genview {

// bank [M,D] with labels [M] (int64, 0 to classes-1), queries [N,D]: rows of any length, compared by cosine. ->
// [N,classes], the logarithms of the votes, where the nearest row's is 1 (small temperatures would leave the range of
// numbers); of no vote -infinity. k larger than M is M; of equally near rows the first counts. Memory stays bounded:
// products are made in blocks.
Tensor KnnVotes(const Tensor& bank, const Tensor& labels, const Tensor& queries, int64_t classes, int64_t k,
                double temperature);
// The same for each of `ks`, for the price of the largest.
std::vector<Tensor> KnnVotes(const Tensor& bank, const Tensor& labels, const Tensor& queries, int64_t classes,
                             const std::vector<int64_t>& ks, double temperature);

struct Hits {
  int64_t top1 = 0, top5 = 0, total = 0;
};
// scores [N,classes], labels [N]. Of equal scores the lower class counts as the larger; with `voted_only` a class
// without a vote, at -infinity, is never among the first five.
Hits CountHits(const Tensor& scores, const Tensor& labels, bool voted_only = false);

}  // namespace genview
