#include "genview/pretrain/trainer.h"

#include "genview/base/error.h"

namespace genview {

Trainer::Trainer(const PretrainConfig& config, int64_t steps_per_epoch, at::Device device, at::ScalarType compute)
    : config_(config),
      schedule_(ScheduleOf(config, steps_per_epoch)),
      device_(device),
      compute_(compute),
      method_(MakeMethod(MethodOf(config), BackboneOf(config), Seed(config.run.seed).With("init"))) {
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
  optimizer_ = config_.optimizer == OptimizerKind::kSgd
                   ? MakeSgd(method_->Weights(), {.momentum = config_.momentum, .weight_decay = config_.weight_decay}, rules)
                   : MakeAdamW(method_->Weights(), {.weight_decay = config_.weight_decay}, rules);
}

void Trainer::Accumulate(const Tensor& view1, const Tensor& view2, const Tensor& weights) {
  const auto enter = [&](const Tensor& view) { return view.to(device_).contiguous(at::MemoryFormat::ChannelsLast); };
  Tensor loss;
  {
    const ComputeScope scope(device_, compute_);
    loss = method_->PairLoss(enter(view1), enter(view2));  // [N]
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
  optimizer_->Step(report.lr);
  ZeroGrad(method_->Weights());
  method_->AfterStep(steps_, schedule_.total_steps);
  ++steps_;
  loss_ = Tensor();
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
