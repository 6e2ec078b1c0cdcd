#include "genview/ssl/moco_v2.h"

#include <c10/core/GradMode.h>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/ssl/losses.h"

namespace genview {

namespace {

Head Projector(const MethodConfig& c, int64_t in) {
  return MocoV2Projector(in, c.hidden > 0 ? c.hidden : in, c.output > 0 ? c.output : 128);
}

}  // namespace

MocoV2::MocoV2(const MethodConfig& config, const BackboneConfig& backbone, Seed seed)
    : config_(config),
      encoder_(MakeBackbone(backbone)),
      projector_(Projector(config, encoder_->width())),
      momentum_(backbone, Projector(config, encoder_->width())) {
  encoder_->Init(seed.With("encoder"));
  InitWeights(ListWeights(projector_), seed.With("projector"));
  UseChannelsLast(Weights());
  momentum_.Copy(Weights());
  queue_ = NormalTensor(seed.With("queue"), {projector_.layers.back().fc.weight.size(0), config.queue});
  queue_ /= queue_.norm(2, {0}, /*keepdim=*/true);
  queue_place_ = at::zeros({}, at::kLong);
}

WeightList MocoV2::Weights() {
  WeightList list;
  AppendAll(list, "encoder", encoder_->Weights());
  AppendAll(list, "projector", ListWeights(projector_));
  return list;
}

WeightList MocoV2::Extra() {
  WeightList list = momentum_.Weights();
  Append(list, "queue", queue_, WeightRole::kBuffer);
  Append(list, "queue_ptr", queue_place_, WeightRole::kBuffer);
  return list;
}

Tensor MocoV2::PairLoss(const Tensor& view1, const Tensor& view2) {
  const Tensor key = UnitRows(momentum_.Project(view2));
  Leave(key);
  const Tensor query = ForwardHead(projector_, encoder_->Forward(view1, /*training=*/true).pooled, true);
  Keep(query);
  return InfoNce(query, key, queue_, config_.temperature);
}

void MocoV2::AfterStep(int64_t, int64_t) {
  const c10::AutoGradMode no_grad(false);
  const Tensor keys = at::cat(TakeLeft());  // [N,D]
  const int64_t place = queue_place_.item<int64_t>(), size = queue_.size(1);
  if (size % keys.size(0) != 0) {
    throw UsageError({.what = Format("a queue of {} is not a multiple of the {} pairs of a step", size, keys.size(0)),
                      .where = "pretrain.queue",
                      .next = Format("use a queue of {}", std::max<int64_t>(1, size / keys.size(0)) * keys.size(0))});
  }
  queue_.narrow(1, place, keys.size(0)).copy_(keys.t());
  queue_place_.fill_((place + keys.size(0)) % size);
  momentum_.Follow(Weights(), config_.momentum);
}

}  // namespace genview
