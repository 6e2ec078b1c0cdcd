// A copy of encoder and projector that is never trained but follows them slowly: it makes the keys of MoCo and the
// targets of BYOL. Its norms see its own batches, so its running statistics are its own; what it makes is of the whole
// network, without drop path.
//
//   MomentumNetwork slow(backbone, projector);      // the projector's shape; values come with Copy
//   slow.Copy(online);                              // online: encoder and projector, in this order
//   Tensor key = slow.Project(view2);
//   slow.Follow(online, MomentumAt(0.99, 1, step, total_steps));
#pragma once

#include <memory>

#include "genview/models/backbone.h"
#include "genview/ssl/heads.h"

namespace genview {

class MomentumNetwork {
 public:
  MomentumNetwork(const BackboneConfig& backbone, Head projector);

  void Copy(const WeightList& online);
  Tensor Project(const Tensor& view) const;  // [N,3,H,W] -> [N,D], norms by the batch, without gradient
  void Follow(const WeightList& online, double momentum);
  WeightList Weights();  // momentum_encoder.*, momentum_projector.*

 private:
  std::unique_ptr<Backbone> encoder_;
  Head projector_;
};

// From `base` at step 0 up to `final` at the last, along a half cosine. With equal ends it is constant.
double MomentumAt(double base, double final, int64_t step, int64_t total_steps);

}  // namespace genview
