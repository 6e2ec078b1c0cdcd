#include "genview/ssl/swav.h"

#include <c10/core/GradMode.h>

#include "genview/ssl/losses.h"

namespace genview {

Swav::Swav(const MethodConfig& config, const BackboneConfig& backbone, Seed seed)
    : config_(config), encoder_(MakeBackbone(backbone)) {
  const int64_t out = config.output > 0 ? config.output : 128;
  projector_ = SwavProjector(encoder_->width(), config.hidden > 0 ? config.hidden : 2048, out);
  prototypes_ = MakeLinear(out, config.swav.prototypes, /*bias=*/false);
  encoder_->Init(seed.With("encoder"));
  InitWeights(ListWeights(projector_), seed.With("projector"));
  InitWeights({{"weight", &prototypes_.weight, WeightRole::kWeight}}, seed.With("prototypes"));
  NormalisePrototypes();
  UseChannelsLast(Weights());
  if (config.swav.queue > 0) queue_ = at::zeros({2, config.swav.queue, out});
  steps_ = at::zeros({}, at::kLong);
}

WeightList Swav::Weights() {
  WeightList list;
  AppendAll(list, "encoder", encoder_->Weights());
  AppendAll(list, "projector", ListWeights(projector_));
  Append(list, "prototypes", prototypes_);
  return list;
}

WeightList Swav::Extra() {
  WeightList list;
  if (queue_.defined()) Append(list, "queue", queue_, WeightRole::kBuffer);
  Append(list, "steps", steps_, WeightRole::kBuffer);
  return list;
}

Tensor Swav::MultiViewLoss(const Tensor& view1, const Tensor& view2, const std::vector<Tensor>& more) {
  Tensor features = encoder_->Forward(at::cat({view1, view2}), /*training=*/true).pooled;
  if (!more.empty()) features = at::cat({features, encoder_->Forward(at::cat(more), /*training=*/true).pooled});
  const Tensor z = UnitRows(ForwardHead(projector_, features, true));  // [VN,D], V = 2 and the small crops
  const int64_t n = view1.size(0);
  Keep(z.narrow(0, 0, n));
  if (queue_.defined()) Leave(z.narrow(0, 0, 2 * n).reshape({2, n, -1}));
  // Without a gradient the optimiser passes the prototypes over: no pull towards 0, no momentum.
  const bool frozen = step() < config_.swav.frozen_steps;
  const std::vector<Tensor> scores =
      PrototypeScores(z, frozen ? prototypes_.weight.detach() : prototypes_.weight).split(n);  // V x [N,K]
  Tensor loss = at::zeros({n}, scores[0].options());
  for (size_t assigned = 0; assigned < 2; ++assigned) {
    const Tensor assignment = Assign(scores[assigned], static_cast<int64_t>(assigned));
    for (size_t v = 0; v < scores.size(); ++v) {
      if (v != assigned) loss = loss + AssignmentCrossEntropy(assignment, scores[v], config_.temperature);
    }
  }
  return loss / (2 * static_cast<double>(scores.size() - 1));
}

Tensor Swav::Assign(const Tensor& scores, int64_t view) const {
  const SwavConfig& c = config_.swav;
  const c10::AutoGradMode no_grad(false);
  Tensor all = scores;
  if (queue_.defined() && step() >= c.queue_from_step && queue_[view][-1].any().item<bool>()) {
    all = at::cat({scores, PrototypeScores(queue_[view], prototypes_.weight)});  // [N+Q,K]
  }
  return SinkhornAssignment(all, c.epsilon, c.iterations).narrow(0, 0, scores.size(0));
}

void Swav::AfterStep(int64_t step, int64_t) {
  const c10::AutoGradMode no_grad(false);
  std::vector<Tensor> features = TakeLeft();  // [2,N,D] of each part
  if (queue_.defined() && step >= config_.swav.queue_from_step) {
    features.push_back(queue_);
    queue_.copy_(at::cat(features, 1).narrow(1, 0, queue_.size(1)));
  }
  NormalisePrototypes();
  steps_.fill_(step + 1);
}

void Swav::NormalisePrototypes() {
  const c10::AutoGradMode no_grad(false);
  prototypes_.weight.copy_(UnitRows(prototypes_.weight));
}

}  // namespace genview
