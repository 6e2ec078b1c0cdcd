#include "genview/pretrain/trainer.h"

#include <stdexcept>

#include "genview/base/error.h"
#include "genview/train/lars.h"

namespace genview {

namespace {

std::unique_ptr<Optimizer> MakeOptimizer(const PretrainConfig& c, const WeightList& weights, const std::vector<GroupRule>& rules) {
  const auto lars = [&](LarsVariant variant) {
    return MakeLars(weights, {.variant = variant, .momentum = c.momentum, .weight_decay = c.weight_decay}, rules);
  };
  switch (c.optimizer) {
    case OptimizerKind::kAuto: break;
    case OptimizerKind::kSgd: return MakeSgd(weights, {.momentum = c.momentum, .weight_decay = c.weight_decay}, rules);
    case OptimizerKind::kAdamW: return MakeAdamW(weights, {.weight_decay = c.weight_decay}, rules);
    case OptimizerKind::kLars: return lars(LarsVariant::kMocoV3);
    case OptimizerKind::kLarsMmpretrain: return lars(LarsVariant::kMmpretrain);
    case OptimizerKind::kLarsSimclr: return lars(LarsVariant::kSimclr);
    case OptimizerKind::kLarsSolo: return lars(LarsVariant::kSoloLearn);
    case OptimizerKind::kLarc: return lars(LarsVariant::kLarc);
  }
  throw std::logic_error("a config that was not resolved");
}

}  // namespace

Trainer::Trainer(const PretrainConfig& config, int64_t steps_per_epoch, at::Device device, at::ScalarType compute)
    : config_(config),
      schedule_(ScheduleOf(config, steps_per_epoch)),
      device_(device),
      compute_(compute),
      method_(MakeMethod(MethodOf(config, steps_per_epoch), BackboneOf(config), Seed(config.run.seed).With("init"))) {
  Prepare();
}

void Trainer::Prepare() {
  MoveWeights(method_->Weights(), device_);
  MoveWeights(method_->Extra(), device_);
  UseChannelsLast(method_->Weights());
  UseChannelsLast(method_->Extra());
  SetRequiresGrad(method_->Weights(), true);
  std::vector<GroupRule> rules;
  if (!config_.decay_norms) rules.push_back(NoDecayForBiasAndNorms());
  // The paper's: a predictor that keeps its rate adapts to the latest projections.
  if (config_.method == MethodKind::kSimSiam) rules.push_back({.matches = NameBegins("predictor."), .fixed_lr = config_.lr});
  if (config_.layer_decay < 1) {
    for (GroupRule& rule : LayerDecay(method_->Weights(), config_.layer_decay)) rules.push_back(std::move(rule));
  }
  optimizer_ = MakeOptimizer(config_, method_->Weights(), rules);
}

void Trainer::Accumulate(const Tensor& view1, const Tensor& view2, const Tensor& weights, const std::vector<Tensor>& local) {
  const auto enter = [&](const Tensor& view) { return view.to(device_).contiguous(at::MemoryFormat::ChannelsLast); };
  method_->encoder()->Reseed(Seed(config_.run.seed).With("drop path").With(static_cast<uint64_t>(steps_)).With(parts_++));
  Tensor loss;
  {
    const ComputeScope scope(device_, compute_);
    std::vector<Tensor> crops;
    for (const Tensor& crop : local) crops.push_back(enter(crop));
    loss = method_->MultiCropLoss(enter(view1), enter(view2), crops);  // [N]
  }
  if (weights.defined()) {
    ExpectShape(weights, {loss.size(0)}, "weights");
    loss = loss * weights;
    weights_.push_back(weights.detach());
  }
  loss = loss.mean() / static_cast<double>(config_.accumulate);
  loss.backward();
  loss_ = loss_.defined() ? loss_ + loss.detach() : loss.detach();
}

StepReport Trainer::Step() {
  GENVIEW_CHECK(loss_.defined(), "Step without Accumulate");
  StepReport report{.loss = loss_, .weight_std = {}, .lr = schedule_.At(steps_)};
  if (!weights_.empty()) report.weight_std = at::cat(weights_).std();
  if (config_.gradient_clip > 0) ClipGradients(method_->Weights(), config_.gradient_clip);
  optimizer_->Step(report.lr);
  ZeroGrad(method_->Weights());
  method_->AfterStep(steps_, schedule_.total_steps);
  ++steps_;
  loss_ = Tensor();
  parts_ = 0;
  weights_.clear();
  return report;
}

std::vector<std::pair<std::string, Tensor>> Trainer::State() {
  auto state = NamedTensors(method_->Weights());
  for (auto& pair : NamedTensors(method_->Extra())) state.push_back(std::move(pair));
  for (auto& pair : optimizer_->State()) state.push_back(std::move(pair));
  return state;
}

void Trainer::Load(WeightReader& reader, int64_t steps) {
  SetRequiresGrad(method_->Weights(), false);
  LoadWeights(method_->Weights(), reader);
  LoadWeights(method_->Extra(), reader);
  Prepare();
  optimizer_->LoadState(reader);
  steps_ = steps;
}

}  // namespace genview
