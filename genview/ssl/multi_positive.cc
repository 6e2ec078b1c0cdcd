#include "genview/ssl/multi_positive.h"

#include "genview/ssl/losses.h"

namespace genview {

MultiPositive::MultiPositive(const MethodConfig& config, const BackboneConfig& backbone, Seed seed)
    : temperature_(config.temperature), encoder_(MakeBackbone(backbone)) {
  const int64_t in = encoder_->width();
  projector_ = SimClrProjector(in, config.hidden > 0 ? config.hidden : in, config.output > 0 ? config.output : 128);
  encoder_->Init(seed.With("encoder"));
  InitWeights(ListWeights(projector_), seed.With("projector"));
  UseChannelsLast(Weights());
}

WeightList MultiPositive::Weights() {
  WeightList list;
  AppendAll(list, "encoder", encoder_->Weights());
  AppendAll(list, "projector", ListWeights(projector_));
  return list;
}

Tensor MultiPositive::MultiCropLoss(const Tensor& view1, const Tensor& view2, const std::vector<Tensor>& more) {
  std::vector<Tensor> views{view1, view2};
  views.insert(views.end(), more.begin(), more.end());
  const Tensor z = ForwardHead(projector_, encoder_->Forward(at::cat(views), /*training=*/true).pooled, true);  // [VN,D]
  const int64_t n = view1.size(0);
  Keep(z.narrow(0, 0, n));
  return MultiPositiveLoss(z.view({static_cast<int64_t>(views.size()), n, -1}), temperature_);
}

}  // namespace genview
