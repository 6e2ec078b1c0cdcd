// Multi-positive contrast (StableRep: Y. Tian et al., 2023): all views of a picture, several of them generated, are to
// find each other among all views of the batch. The network is SimCLR's, and with two views so is the loss.
#pragma once

#include "genview/ssl/simclr.h"

namespace genview {

class MultiPositive final : public SimClr {
 public:
  using SimClr::SimClr;

  Tensor PairLoss(const Tensor& view1, const Tensor& view2) override { return MultiViewLoss(view1, view2, {}); }
  // `more`: further views of the same pictures, of the size of the two. A picture's weight is that of its first two
  // views and scales the terms of all its views as anchors; as negatives of others they count as they are.
  Tensor MultiViewLoss(const Tensor& view1, const Tensor& view2, const std::vector<Tensor>& more) override;
};

}  // namespace genview
