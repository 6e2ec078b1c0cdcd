// Multi-positive contrast (StableRep: Y. Tian et al., 2023): all views of a picture, several of them generated, are to find each
// other among all views of the batch. With two views it is SimCLR. All views go through the network as one batch.
#pragma once

#include "genview/ssl/heads.h"
#include "genview/ssl/method.h"

namespace genview {

class MultiPositive final : public Method {
 public:
  // Projector of SimCLR: hidden width as the encoder's, 128 out, unless the config says otherwise.
  MultiPositive(const MethodConfig& config, const BackboneConfig& backbone, Seed seed);

  Tensor PairLoss(const Tensor& view1, const Tensor& view2) override { return MultiCropLoss(view1, view2, {}); }
  // `more`: further views of the same pictures, of the size of the two. A picture's weight is that of its first two views and
  // scales the terms of all its views as anchors; as negatives of others they count as they are.
  Tensor MultiCropLoss(const Tensor& view1, const Tensor& view2, const std::vector<Tensor>& more) override;
  WeightList Weights() override;
  std::shared_ptr<Backbone> encoder() override { return encoder_; }

 private:
  double temperature_;
  std::shared_ptr<Backbone> encoder_;
  Head projector_;
};

}  // namespace genview
