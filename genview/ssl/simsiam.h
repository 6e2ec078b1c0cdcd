// SimSiam (X. Chen, K. He, 2021): a predictor on one view's projection is to give the other's, through which no
// gradient flows. No negatives: watch the spread of the projections.
#pragma once

#include "genview/ssl/heads.h"
#include "genview/ssl/method.h"

namespace genview {

class SimSiam final : public Method {
 public:
  // Projector: hidden width as the encoder's, 2048 out; predictor: a quarter of that, unless the config says otherwise.
  // The predictor's learning rate is meant to stay constant (GroupRule::fixed_lr for `predictor.`).
  SimSiam(const MethodConfig& config, const BackboneConfig& backbone, Seed seed);

  Tensor PairLoss(const Tensor& view1, const Tensor& view2) override;
  WeightList Weights() override;
  std::shared_ptr<Backbone> encoder() override { return encoder_; }

 private:
  std::shared_ptr<Backbone> encoder_;
  Head projector_, predictor_;
};

}  // namespace genview
