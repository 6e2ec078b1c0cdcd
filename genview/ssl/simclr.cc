#include "genview/ssl/simclr.h"

#include "genview/ssl/losses.h"

namespace genview {

SimClr::SimClr(const MethodConfig& config, const BackboneConfig& backbone, Seed seed)
    : config_(config), encoder_(MakeBackbone(backbone)) {
  const int64_t in = encoder_->width();
  projector_ = SimClrProjector(in, config.hidden > 0 ? config.hidden : in, config.output > 0 ? config.output : 128);
  encoder_->Init(seed.With("encoder"));
  InitWeights(ListWeights(projector_), seed.With("projector"));
  UseChannelsLast(Weights());
}

WeightList SimClr::Weights() {
  WeightList list;
  AppendAll(list, "encoder", encoder_->Weights());
  AppendAll(list, "projector", ListWeights(projector_));
  return list;
}

Tensor SimClr::Project(const std::vector<Tensor>& views) {
  const Tensor z = ForwardHead(projector_, encoder_->Forward(at::cat(views), /*training=*/true).pooled, true);
  Keep(z.narrow(0, 0, views[0].size(0)));
  return z;
}

Tensor SimClr::PairLoss(const Tensor& view1, const Tensor& view2) {
  const Tensor z = Project({view1, view2});
  const int64_t n = view1.size(0);
  return NtXent(z.narrow(0, 0, n), z.narrow(0, n, n), config_.temperature);
}

}  // namespace genview
