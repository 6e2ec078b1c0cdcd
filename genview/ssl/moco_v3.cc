#include "genview/ssl/moco_v3.h"

#include "genview/ssl/losses.h"

namespace genview {
namespace {

bool IsVit(const BackboneConfig& backbone) { return backbone.type.starts_with("vit-"); }

Head Projector(const MethodConfig& c, const BackboneConfig& backbone, int64_t in) {
  return MocoV3Projector(in, c.hidden > 0 ? c.hidden : 4096, c.output > 0 ? c.output : 256, IsVit(backbone) ? 3 : 2);
}

}  // namespace

MocoV3::MocoV3(const MethodConfig& config, const BackboneConfig& backbone, Seed seed)
    : config_(config),
      encoder_(MakeBackbone(backbone)),
      projector_(Projector(config, backbone, encoder_->width())),
      momentum_(backbone, Projector(config, backbone, encoder_->width())) {
  const int64_t out = projector_.layers.back().fc.weight.size(0);
  predictor_ = MocoV3Predictor(out, config.predictor > 0 ? config.predictor : 4096, /*last_norm=*/IsVit(backbone));
  encoder_->Init(seed.With("encoder"));
  InitWeights(ListWeights(projector_), seed.With("projector"));
  InitWeights(ListWeights(predictor_), seed.With("predictor"));
  UseChannelsLast(Weights());
  momentum_.Copy(Followed());
}

WeightList MocoV3::Followed() {
  WeightList list;
  AppendAll(list, "encoder", encoder_->Weights());
  AppendAll(list, "projector", ListWeights(projector_));
  return list;
}

WeightList MocoV3::Weights() {
  WeightList list = Followed();
  AppendAll(list, "predictor", ListWeights(predictor_));
  return list;
}

Tensor MocoV3::PairLoss(const Tensor& view1, const Tensor& view2) {
  const Tensor key1 = momentum_.Project(view1), key2 = momentum_.Project(view2);
  const Tensor z1 = ForwardHead(projector_, encoder_->Forward(view1, /*training=*/true).pooled, true);
  const Tensor z2 = ForwardHead(projector_, encoder_->Forward(view2, /*training=*/true).pooled, true);
  Keep(z1);
  return MocoV3Loss(ForwardHead(predictor_, z1, true), ForwardHead(predictor_, z2, true), key1, key2, config_.temperature);
}

void MocoV3::AfterStep(int64_t step, int64_t total_steps) {
  momentum_.Follow(Followed(), MomentumAt(config_.momentum, 1, step + 1, total_steps));
}

}  // namespace genview
