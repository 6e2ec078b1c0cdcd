// BYOL (J.-B. Grill et al., 2020): a predictor on one view's projection is to give what a slowly following copy of the
// network makes of the other view. Both ways; no negatives: watch the spread of the projections.
#pragma once

#include "genview/ssl/heads.h"
#include "genview/ssl/method.h"
#include "genview/ssl/momentum_network.h"

namespace genview {

class Byol final : public Method {
 public:
  // Projector: 4096 inside, 256 out; predictor the same on 256, unless the config says otherwise.
  Byol(const MethodConfig& config, const BackboneConfig& backbone, Seed seed);

  // 2 - 2 cos(p1, t2) + 2 - 2 cos(p2, t1). A weight scales the constants, too: they carry no gradient.
  Tensor PairLoss(const Tensor& view1, const Tensor& view2) override;
  // The copy follows after the optimiser's update, with a momentum that rises from the config's to 1 along a half cosine.
  void AfterStep(int64_t step, int64_t total_steps) override;
  WeightList Weights() override;
  WeightList Extra() override { return momentum_.Weights(); }
  std::shared_ptr<Backbone> encoder() override { return encoder_; }

 private:
  WeightList Followed();  // encoder and projector

  MethodConfig config_;
  std::shared_ptr<Backbone> encoder_;
  Head projector_, predictor_;
  MomentumNetwork momentum_;
};

}  // namespace genview
