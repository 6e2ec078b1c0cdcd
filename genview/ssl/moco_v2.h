// MoCo v2 (X. Chen, H. Fan, R. Girshick, K. He, 2020): the first view's projection is to find the second's, made by a
// slowly following copy of the network, among a queue of earlier ones. Symmetric, as solo-learn's MoCo v2+ is: the mean
// of that and of the other direction, each view's keys in a queue of their own.
#pragma once

#include "genview/ssl/heads.h"
#include "genview/ssl/method.h"
#include "genview/ssl/momentum_network.h"

namespace genview {

class MocoV2 final : public Method {
 public:
  // Projector: hidden width as the encoder's, 128 out, unless the config says otherwise.
  MocoV2(const MethodConfig& config, const BackboneConfig& backbone, Seed seed);

  Tensor PairLoss(const Tensor& view1, const Tensor& view2) override;
  // Keys of the second views, or of both.
  std::vector<int> KeyViews() const override;
  Tensor Key(const Tensor& view) const override;
  Tensor LossWithKeys(const Tensor& view1, const Tensor& view2, const std::vector<Tensor>& keys) override;
  // Puts the keys of this step into the queue and moves the momentum network, with the config's momentum or one that
  // rises from it along a half cosine. (The original moves it at the beginning of the next step: the same sequence.)
  void AfterStep(int64_t step, int64_t total_steps) override;
  WeightList Weights() override;
  WeightList Extra() override;
  std::shared_ptr<Backbone> encoder() override { return encoder_; }

 private:
  Tensor Query(const Tensor& view) const;

  MethodConfig config_;
  std::shared_ptr<Backbone> encoder_;
  Head projector_;
  MomentumNetwork momentum_;
  Tensor queue_;        // [D,K], columns of length 1; symmetric: [2,D,K], by the view that the keys are of
  Tensor queue_place_;  // [], int64: where the next keys go
};

}  // namespace genview
