#include "genview/ssl/predicting_method.h"

namespace genview {

PredictingMethod::PredictingMethod(const BackboneConfig& backbone, const MakeHead& projector, const MakeHead& predictor,
                                   Seed seed)
    : encoder_(MakeBackbone(backbone)),
      projector_(projector(encoder_->width())),
      predictor_(predictor(projector_.layers.back().fc.weight.size(0))),
      momentum_(backbone, projector(encoder_->width())) {
  encoder_->Init(seed.With("encoder"));
  InitWeights(ListWeights(projector_), seed.With("projector"));
  InitWeights(ListWeights(predictor_), seed.With("predictor"));
  UseChannelsLast(Weights());
  momentum_.Copy(Followed());
}

WeightList PredictingMethod::Followed() {
  WeightList list;
  AppendAll(list, "encoder", encoder_->Weights());
  AppendAll(list, "projector", ListWeights(projector_));
  return list;
}

WeightList PredictingMethod::Weights() {
  WeightList list = Followed();
  AppendAll(list, "predictor", ListWeights(predictor_));
  return list;
}

Tensor PredictingMethod::PairLoss(const Tensor& view1, const Tensor& view2) {
  const Tensor target1 = momentum_.Project(view1), target2 = momentum_.Project(view2);
  const Tensor z1 = ForwardHead(projector_, encoder_->Forward(view1, /*training=*/true).pooled, true);
  const Tensor z2 = ForwardHead(projector_, encoder_->Forward(view2, /*training=*/true).pooled, true);
  Keep(z1);
  const Tensor p1 = ForwardHead(predictor_, z1, true), p2 = ForwardHead(predictor_, z2, true);
  return Compare(p1, p2, target1, target2);
}

}  // namespace genview
