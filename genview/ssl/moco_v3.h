// MoCo v3 (X. Chen, S. Xie, K. He, 2021): a predictor on each view's projection is to find, among all keys of the
// batch, the one that a slowly following copy of the network makes of the other view. Both ways, no queue.
#pragma once

#include "genview/ssl/predicting_method.h"

namespace genview {

class MocoV3 final : public PredictingMethod {
 public:
  // Projector: 4096 inside, 256 out, of two layers for a ResNet and three for a ViT; predictor: 4096 inside, and only a
  // ViT's ends in a norm. Unless the config says otherwise.
  MocoV3(const MethodConfig& config, const BackboneConfig& backbone, Seed seed);

  // The copy follows with a momentum that rises from the config's to 1, or what the config says, along a half cosine.
  // (The original moves it in the next step, before it makes keys: the same sequence.)
  void AfterStep(int64_t step, int64_t total_steps) override;

 private:
  // MocoV3Loss: the part of each pair in both directions, times 2T.
  Tensor Compare(const Tensor& p1, const Tensor& p2, const Tensor& t1, const Tensor& t2) const override;

  double temperature_;
  double start_, end_;  // momentum at the first step and after the last
};

}  // namespace genview
