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
  std::vector<int64_t> shape{projector_.layers.back().fc.weight.size(0), config.queue};
  if (config.symmetric) shape.insert(shape.begin(), 2);
  queue_ = NormalTensor(seed.With("queue"), shape);
  queue_ /= queue_.norm(2, {-2}, /*keepdim=*/true);
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

Tensor MocoV2::Query(const Tensor& view) const {
  return ForwardHead(projector_, encoder_->Forward(view, /*training=*/true).pooled, true);
}

Tensor MocoV2::Key(const Tensor& view) const { return UnitRows(momentum_.Project(view)); }

std::vector<int> MocoV2::KeyViews() const { return config_.symmetric ? std::vector<int>{0, 1} : std::vector<int>{1}; }

Tensor MocoV2::PairLoss(const Tensor& view1, const Tensor& view2) {
  std::vector<Tensor> keys;
  for (const int view : KeyViews()) keys.push_back(Key(view == 0 ? view1 : view2));
  return LossWithKeys(view1, view2, keys);
}

Tensor MocoV2::LossWithKeys(const Tensor& view1, const Tensor& view2, const std::vector<Tensor>& keys) {
  const double temperature = config_.temperature;
  if (!config_.symmetric) {
    Leave(keys[0]);
    const Tensor query = Query(view1);
    Keep(query);
    return InfoNce(query, keys[0], queue_, temperature);
  }
  Leave(at::stack(keys));  // [2,N,D]
  const Tensor query1 = Query(view1), query2 = Query(view2);
  Keep(query1);
  return 0.5 * (InfoNce(query1, keys[1], queue_[1], temperature) + InfoNce(query2, keys[0], queue_[0], temperature));
}

void MocoV2::AfterStep(int64_t step, int64_t total_steps) {
  const c10::AutoGradMode no_grad(false);
  const Tensor keys = at::cat(TakeLeft(), /*dim=*/-2);  // [N,D] or [2,N,D]
  const int64_t place = queue_place_.item<int64_t>(), size = queue_.size(-1), pairs = keys.size(-2);
  if (size % pairs != 0) {
    throw UsageError({.what = Format("a queue of {} is not a multiple of the {} pairs of a step", size, pairs),
                      .where = "pretrain.queue",
                      .next = Format("use a queue of {}", std::max<int64_t>(1, size / pairs) * pairs)});
  }
  queue_.narrow(-1, place, pairs).copy_(keys.transpose(-2, -1));
  queue_place_.fill_((place + pairs) % size);
  const double last = config_.final_momentum > 0 ? config_.final_momentum : config_.momentum;
  momentum_.Follow(Weights(), MomentumAt(config_.momentum, last, step, total_steps));
}

}  // namespace genview
