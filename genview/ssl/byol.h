// BYOL (J.-B. Grill et al., 2020): a predictor on one view's projection is to give what a slowly following copy of the
// network makes of the other view. Both ways; no negatives: watch the spread of the projections.
#pragma once

#include "genview/ssl/predicting_method.h"

namespace genview {

class Byol final : public PredictingMethod {
 public:
  // Projector: 4096 inside, 256 out; predictor the same on 256, unless the config says otherwise.
  Byol(const MethodConfig& config, const BackboneConfig& backbone, Seed seed);

  // The copy follows after the optimiser's update, with a momentum that rises from the config's to 1, or what the
  // config says, along a half cosine.
  void AfterStep(int64_t step, int64_t total_steps) override;

 private:
  // 2 - 2 cos(p1, t2) + 2 - 2 cos(p2, t1). A weight scales the constants, too: they carry no gradient.
  Tensor Compare(const Tensor& p1, const Tensor& p2, const Tensor& t1, const Tensor& t2) const override;

  double start_, end_;  // momentum at the first step and after the last
};

}  // namespace genview
