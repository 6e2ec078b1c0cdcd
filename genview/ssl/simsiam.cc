#include "genview/ssl/simsiam.h"

#include "genview/ssl/losses.h"

namespace genview {

SimSiam::SimSiam(const MethodConfig& config, const BackboneConfig& backbone, Seed seed)
    : encoder_(MakeBackbone(backbone)) {
  const int64_t in = encoder_->width(), out = config.output > 0 ? config.output : 2048;
  projector_ = SimSiamProjector(in, config.hidden > 0 ? config.hidden : in, out);
  predictor_ = SimSiamPredictor(out, config.predictor > 0 ? config.predictor : std::max<int64_t>(1, out / 4));
  encoder_->Init(seed.With("encoder"));
  InitWeights(ListWeights(projector_), seed.With("projector"));
  InitWeights(ListWeights(predictor_), seed.With("predictor"));
  UseChannelsLast(Weights());
}

WeightList SimSiam::Weights() {
  WeightList list;
  AppendAll(list, "encoder", encoder_->Weights());
  AppendAll(list, "projector", ListWeights(projector_));
  AppendAll(list, "predictor", ListWeights(predictor_));
  return list;
}

Tensor SimSiam::PairLoss(const Tensor& view1, const Tensor& view2) {
  const Tensor z1 = ForwardHead(projector_, encoder_->Forward(view1, /*training=*/true).pooled, true);
  const Tensor z2 = ForwardHead(projector_, encoder_->Forward(view2, /*training=*/true).pooled, true);
  Keep(z1);
  const Tensor forward = NegativeCosine(ForwardHead(predictor_, z1, true), z2.detach());
  const Tensor backward = NegativeCosine(ForwardHead(predictor_, z2, true), z1.detach());
  return 0.5 * (forward + backward);
}

}  // namespace genview
