// Whether the features still tell pictures apart.
#pragma once

#include "genview/tensor/tensor.h"

namespace genview {

struct FeatureSpread {
  double std = 0;  // of the unit rows, mean over the dimensions; features spread over the sphere give 1/sqrt(D)
  double relative_std = 0;    // std * sqrt(D): about 1 when healthy, 0 when all rows are the same
  double effective_rank = 0;  // exp of the entropy of the singular values of the centred unit rows: 0 to min(N - 1, D)
  int64_t rows = 0;           // N

  // Of two or three rows the rank, which is at most 1 or 2, says nothing.
  bool collapsed() const { return relative_std < 0.05 || (rows >= 4 && effective_rank < 1.5); }
};

// features: [N,D], N at least 2.
FeatureSpread MeasureSpread(const Tensor& features);

}  // namespace genview
