// What BYOL and MoCo v3 share: a predictor on each view's projection is compared with what a slowly following copy of
// encoder and projector makes of the other view. Both ways.
#pragma once

#include <functional>

#include "genview/ssl/heads.h"
#include "genview/ssl/method.h"
#include "genview/ssl/momentum_network.h"

namespace genview {

class PredictingMethod : public Method {
 public:
  Tensor PairLoss(const Tensor& view1, const Tensor& view2) final;
  WeightList Weights() final;
  WeightList Extra() final { return momentum_.Weights(); }
  std::shared_ptr<Backbone> encoder() final { return encoder_; }

 protected:
  // Makes a head for inputs of a width.
  using MakeHead = std::function<Head(int64_t)>;
  PredictingMethod(const BackboneConfig& backbone, const MakeHead& projector, const MakeHead& predictor, Seed seed);

  // p1, p2: predictions; t1, t2: targets, without gradient. [N,D] each, the views' in their order -> [N].
  virtual Tensor Compare(const Tensor& p1, const Tensor& p2, const Tensor& t1, const Tensor& t2) const = 0;
  void Follow(double momentum) { momentum_.Follow(Followed(), momentum); }

 private:
  WeightList Followed();  // encoder and projector

  std::shared_ptr<Backbone> encoder_;
  Head projector_, predictor_;
  MomentumNetwork momentum_;
};

}  // namespace genview
