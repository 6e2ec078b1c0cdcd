// SimCLR (T. Chen, S. Kornblith, M. Norouzi, G. Hinton, 2020): the two views of a picture are to find each other among
// all views of the batch. Both views go through the network as one batch, so its norms see 2N pictures.
#pragma once

#include "genview/ssl/heads.h"
#include "genview/ssl/method.h"

namespace genview {

class SimClr : public Method {
 public:
  // Projector: hidden width as the encoder's, 128 out, unless the config says otherwise.
  SimClr(const MethodConfig& config, const BackboneConfig& backbone, Seed seed);

  Tensor PairLoss(const Tensor& view1, const Tensor& view2) override;
  WeightList Weights() override;
  std::shared_ptr<Backbone> encoder() override { return encoder_; }

 protected:
  // Views of the same pictures, [N,3,H,W] each, through the network as one batch -> [VN,D]: row v N + i is view v of
  // picture i.
  Tensor Project(const std::vector<Tensor>& views);
  double temperature() const { return config_.temperature; }

 private:
  MethodConfig config_;
  std::shared_ptr<Backbone> encoder_;
  Head projector_;
};

}  // namespace genview
