#include "genview/ssl/moco_v2.h"

#include <c10/core/GradMode.h>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/ssl/losses.h"

namespace genview {

MocoV2::MocoV2(const MethodConfig& config, const BackboneConfig& backbone, Seed seed)
    : config_(config), encoder_(MakeBackbone(backbone)), momentum_encoder_(MakeBackbone(backbone)) {
  const int64_t in = encoder_->width(), hidden = config.hidden > 0 ? config.hidden : in;
  const int64_t out = config.output > 0 ? config.output : 128;
  projector_ = MocoV2Projector(in, hidden, out);
  momentum_projector_ = MocoV2Projector(in, hidden, out);
  encoder_->Init(seed.With("encoder"));
  InitWeights(ListWeights(projector_), seed.With("projector"));
  UseChannelsLast(Weights());
  UseChannelsLast(MomentumWeights());
  CopyWeights(MomentumWeights(), Weights());
  queue_ = NormalTensor(seed.With("queue"), {out, config.queue});
  queue_ /= queue_.norm(2, {0}, /*keepdim=*/true);
  queue_place_ = at::zeros({}, at::kLong);
}

WeightList MocoV2::Weights() {
  WeightList list;
  AppendAll(list, "encoder", encoder_->Weights());
  AppendAll(list, "projector", ListWeights(projector_));
  return list;
}

WeightList MocoV2::MomentumWeights() {
  WeightList list;
  AppendAll(list, "momentum_encoder", momentum_encoder_->Weights());
  AppendAll(list, "momentum_projector", ListWeights(momentum_projector_));
  return list;
}

WeightList MocoV2::Extra() {
  WeightList list = MomentumWeights();
  Append(list, "queue", queue_, WeightRole::kBuffer);
  Append(list, "queue_ptr", queue_place_, WeightRole::kBuffer);
  return list;
}

Tensor MocoV2::PairLoss(const Tensor& view1, const Tensor& view2) {
  Tensor key;
  {
    const c10::AutoGradMode no_grad(false);
    key = UnitRows(ForwardHead(momentum_projector_, momentum_encoder_->Forward(view2, /*training=*/true).pooled, true));
  }
  fresh_.push_back(key);
  const Tensor query = ForwardHead(projector_, encoder_->Forward(view1, /*training=*/true).pooled, true);
  Keep(query);
  return InfoNce(query, key, queue_, config_.temperature);
}

void MocoV2::AfterStep(int64_t, int64_t) {
  const c10::AutoGradMode no_grad(false);
  const Tensor keys = at::cat(fresh_);  // [N,D]
  fresh_.clear();
  const int64_t place = queue_place_.item<int64_t>(), size = queue_.size(1);
  if (size % keys.size(0) != 0) {
    throw UsageError({.what = Format("a queue of {} is not a multiple of the {} pairs of a step", size, keys.size(0)),
                      .where = "pretrain.queue",
                      .next = Format("use a queue of {}", std::max<int64_t>(1, size / keys.size(0)) * keys.size(0))});
  }
  queue_.narrow(1, place, keys.size(0)).copy_(keys.t());
  queue_place_.fill_((place + keys.size(0)) % size);
  AverageWeights(MomentumWeights(), Weights(), config_.momentum);
}

}  // namespace genview
