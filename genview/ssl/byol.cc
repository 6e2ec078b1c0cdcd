#include "genview/ssl/byol.h"

#include "genview/ssl/losses.h"

namespace genview {
namespace {

Head Projector(const MethodConfig& c, int64_t in) {
  return ByolHead(in, c.hidden > 0 ? c.hidden : 4096, c.output > 0 ? c.output : 256);
}

}  // namespace

Byol::Byol(const MethodConfig& config, const BackboneConfig& backbone, Seed seed)
    : config_(config),
      encoder_(MakeBackbone(backbone)),
      projector_(Projector(config, encoder_->width())),
      momentum_(backbone, Projector(config, encoder_->width())) {
  const int64_t out = projector_.layers.back().fc.weight.size(0);
  predictor_ = ByolHead(out, config.predictor > 0 ? config.predictor : 4096, out);
  encoder_->Init(seed.With("encoder"));
  InitWeights(ListWeights(projector_), seed.With("projector"));
  InitWeights(ListWeights(predictor_), seed.With("predictor"));
  UseChannelsLast(Weights());
  momentum_.Copy(Followed());
}

WeightList Byol::Followed() {
  WeightList list;
  AppendAll(list, "encoder", encoder_->Weights());
  AppendAll(list, "projector", ListWeights(projector_));
  return list;
}

WeightList Byol::Weights() {
  WeightList list = Followed();
  AppendAll(list, "predictor", ListWeights(predictor_));
  return list;
}

Tensor Byol::PairLoss(const Tensor& view1, const Tensor& view2) {
  const Tensor target1 = momentum_.Project(view1), target2 = momentum_.Project(view2);
  const Tensor z1 = ForwardHead(projector_, encoder_->Forward(view1, /*training=*/true).pooled, true);
  const Tensor z2 = ForwardHead(projector_, encoder_->Forward(view2, /*training=*/true).pooled, true);
  Keep(z1);
  const Tensor forward = NegativeCosine(ForwardHead(predictor_, z1, true), target2);
  const Tensor backward = NegativeCosine(ForwardHead(predictor_, z2, true), target1);
  return 4 + 2 * (forward + backward);
}

void Byol::AfterStep(int64_t step, int64_t total_steps) {
  momentum_.Follow(Followed(), MomentumAt(config_.momentum, 1, step, total_steps));
}

}  // namespace genview
