// The direction in which an encoder's tokens differ most, which tells foreground from background.
//
//   TokenStatistics statistics(encoder->grid(), encoder->token_width());
//   while (...) statistics.Add(tokens);                                  // [N,T,C]; memory does not grow
//   PrincipalComponent pc = FirstComponent(statistics);                  // sign chosen: the centre scores higher
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "genview/tensor/tensor.h"
#include "genview/tensor/weights.h"

namespace genview {

// Mean and covariance of all tokens, and the mean token of each place, in one pass and in float64. Batches are merged
// as Chan, Golub and LeVeque do ("Updating formulae and a pairwise algorithm", 1979), so no large sums cancel.
class TokenStatistics {
 public:
  TokenStatistics(int64_t grid, int64_t width);
  void Add(const Tensor& tokens);  // [N,grid*grid,width]

  int64_t grid() const { return grid_; }
  int64_t width() const { return width_; }
  int64_t images() const { return images_; }
  int64_t rows() const { return images_ * grid_ * grid_; }
  Tensor mean() const;         // [C]
  Tensor covariance() const;   // [C,C], divided by rows - 1
  Tensor place_means() const;  // [T,C]

  // The sums as they are, for going on with them later; none before the first picture.
  std::vector<std::pair<std::string, Tensor>> State() const;
  // Sums of so many pictures, on `device`. False, and nothing changes, where they are of another grid or width.
  bool Load(const WeightMap& state, int64_t images, at::Device device);

 private:
  int64_t grid_, width_, images_ = 0;
  Tensor mean_, moment_, place_sums_;  // moment: sum of (x - mean)(x - mean)^T
};

struct PrincipalComponent {
  Tensor component;           // [C] fp32, length 1
  Tensor mean;                // [C] fp32
  double variance_share = 0;  // of all variance, [0, 1]
  double margin = 0;  // mean score of the centre minus that of the border, in standard deviations of a score; >= 0
};
// Sign: the middle half of the grid scores higher on average than the outermost ring (pictures show their object
// there). A small margin says that the sign is a guess. Throws Error for fewer than 2 rows.
PrincipalComponent FirstComponent(const TokenStatistics& statistics);

// Mean score of the centre minus mean score of the border, in the unit of the scores. 0 for grids below 3.
double CentreMargin(const Tensor& place_scores, int64_t grid);  // [T]

}  // namespace genview
