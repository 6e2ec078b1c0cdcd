#include "genview/eval/probe_training.h"

#include <c10/core/GradMode.h>

#include "genview/base/text.h"
#include "genview/train/lars.h"

namespace genview {
namespace {

std::unique_ptr<Optimizer> MakeOptimizer(const ProbeConfig& c, const WeightList& weights,
                                         const std::vector<GroupRule>& rules) {
  if (c.optimizer == ProbeOptimizer::kSgd)
    return MakeSgd(weights, {.momentum = c.momentum, .weight_decay = c.weight_decay, .nesterov = c.nesterov}, rules);
  return MakeLars(
      weights,
      {.variant = LarsVariantOf(EnumName(c.optimizer)), .momentum = c.momentum, .weight_decay = c.weight_decay}, rules);
}

}  // namespace

ProbeTraining::ProbeTraining(const Probe& start, const ProbeConfig& config, at::Device device)
    : mean_(start.mean.to(device)), scale_(start.scale.to(device)), heads_(config.rates.size()) {
  // LARS scales only what has two extents, LARC everything. MMPretrain's probes scale the biases, too.
  const bool matrix = config.optimizer == ProbeOptimizer::kLarsMmpretrain;
  std::vector<GroupRule> rules;
  for (size_t r = 0; r < heads_.size(); ++r) {
    const Tensor bias = start.bias[static_cast<int64_t>(r)];  // [1,C]
    heads_[r].weight = start.weight[static_cast<int64_t>(r)].clone();
    heads_[r].bias = matrix ? bias.clone() : bias[0].clone();
    const std::string name = Format("{}.", r);
    Append(list_, name + "weight", heads_[r].weight, WeightRole::kWeight);
    Append(list_, name + "bias", heads_[r].bias, WeightRole::kBias);
    rules.push_back({.matches = NameBegins(name), .lr_factor = config.rates[r]});
  }
  MoveWeights(list_, device);
  SetRequiresGrad(list_, true);
  optimizer_ = MakeOptimizer(config, list_, rules);
}

Tensor ProbeTraining::Step(const Tensor& features, const Tensor& labels, double factor) {
  const c10::AutoGradMode gradients(true);
  const Tensor x = (features.to(mean_.device(), at::kFloat) - mean_) * scale_;
  // Copied: what was made in inference mode could not be kept for the way back.
  const Tensor y = labels.to(mean_.device(), at::kLong, /*non_blocking=*/false, /*copy=*/true);
  std::vector<Tensor> losses;
  for (const Head& head : heads_) losses.push_back(at::cross_entropy_loss(at::addmm(head.bias, x, head.weight), y));
  const Tensor all = at::stack(losses);
  all.sum().backward();
  optimizer_->Step(factor);
  ZeroGrad(list_);
  return all.detach();
}

Probe ProbeTraining::Trained() const {
  std::vector<Tensor> weights, biases;
  for (const Head& head : heads_) {
    weights.push_back(head.weight.detach().cpu());
    biases.push_back(head.bias.detach().cpu().view({1, -1}));
  }
  return {.weight = at::stack(weights), .bias = at::stack(biases), .mean = mean_.cpu(), .scale = scale_.cpu()};
}

std::vector<std::pair<std::string, Tensor>> ProbeTraining::State() const {
  std::vector<std::pair<std::string, Tensor>> state = NamedTensors(list_, "head.");
  for (auto& part : optimizer_->State()) state.push_back(std::move(part));
  for (auto& [name, tensor] : state) tensor = tensor.cpu();
  return state;
}

void ProbeTraining::LoadState(WeightReader& reader) {
  const c10::AutoGradMode no_grad(false);
  for (const WeightRef& ref : list_) ref.tensor->copy_(reader.Take("head." + ref.name, ref.tensor->sizes()));
  optimizer_->LoadState(reader);
}

}  // namespace genview
