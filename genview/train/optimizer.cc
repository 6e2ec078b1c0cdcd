#include "genview/train/optimizer.h"

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <string_view>

#include <c10/core/GradMode.h>

#include "genview/base/text.h"
#include "genview/train/optimizer_groups.h"

namespace genview {
namespace {

class Sgd final : public Optimizer {
 public:
  Sgd(const WeightList& weights, const SgdConfig& config, const std::vector<GroupRule>& rules)
      : config_(config),
        groups_(MakeOptimizerGroups(weights, config.weight_decay, rules, config.momentum != 0 ? 1 : 0)) {}

  void Step(double lr) override {
    const c10::AutoGradMode no_grad(false);
    for (const OptimizerGroup& group : groups_) {
      const OptimizerLists lists = CollectGradients(group);
      if (lists.weights.empty()) continue;
      // The momentum begins at zero, which without dampening is the same as beginning with the first gradient.
      at::_fused_sgd_(lists.weights, lists.gradients, lists.first, group.weight_decay, config_.momentum, group.Rate(lr),
                      /*dampening=*/0, config_.nesterov, /*maximize=*/false, /*is_first_step=*/false);
    }
  }

  std::vector<std::pair<std::string, Tensor>> State(const std::string& prefix) const override {
    return MomentumState(groups_, prefix);
  }
  void LoadState(WeightReader& reader, const std::string& prefix) override { LoadMomentum(groups_, reader, prefix); }

 private:
  SgdConfig config_;
  std::vector<OptimizerGroup> groups_;
};

class AdamW final : public Optimizer {
 public:
  AdamW(const WeightList& weights, const AdamWConfig& config, const std::vector<GroupRule>& rules)
      : config_(config), groups_(MakeOptimizerGroups(weights, config.weight_decay, rules, 2)) {}

  void Step(double lr) override {
    const c10::AutoGradMode no_grad(false);
    for (const OptimizerGroup& group : groups_) {
      const OptimizerLists lists = CollectGradients(group);
      if (lists.weights.empty()) continue;
      at::_foreach_add_(lists.updates, 1);
      at::_fused_adamw_(lists.weights, lists.gradients, lists.first, lists.second, {}, lists.updates, group.Rate(lr),
                        config_.beta1, config_.beta2, group.weight_decay, config_.eps, /*amsgrad=*/false,
                        /*maximize=*/false);
    }
  }

  std::vector<std::pair<std::string, Tensor>> State(const std::string& prefix) const override {
    std::vector<std::pair<std::string, Tensor>> state;
    for (const OptimizerGroup& group : groups_) {
      for (const OptimizerSlot& slot : group.slots) {
        state.emplace_back(prefix + "mean." + slot.name, slot.first);
        state.emplace_back(prefix + "square." + slot.name, slot.second);
        state.emplace_back(prefix + "updates." + slot.name, slot.updates);
      }
    }
    return state;
  }

  void LoadState(WeightReader& reader, const std::string& prefix) override {
    // Earlier versions counted the updates of all weights together.
    const bool together = reader.Has(prefix + "step");
    const double of_all = together ? static_cast<double>(reader.Take(prefix + "step", {}).item<int64_t>()) : 0;
    for (OptimizerGroup& group : groups_) {
      for (OptimizerSlot& slot : group.slots) {
        slot.first.copy_(reader.Take(prefix + "mean." + slot.name, slot.first.sizes()));
        slot.second.copy_(reader.Take(prefix + "square." + slot.name, slot.second.sizes()));
        if (together) slot.updates.fill_(of_all);
        else slot.updates.copy_(reader.Take(prefix + "updates." + slot.name, {}));
      }
    }
  }

 private:
  AdamWConfig config_;
  std::vector<OptimizerGroup> groups_;
};

}  // namespace

GroupRule NoDecayForBiasAndNorms() {
  return {.matches =
              [](const WeightRef& ref) {
                return ref.role == WeightRole::kBias || ref.role == WeightRole::kNormScale ||
                       ref.role == WeightRole::kNormShift;
              },
          .weight_decay = 0};
}

std::function<bool(const WeightRef&)> NameBegins(std::string prefix) {
  return [prefix = std::move(prefix)](const WeightRef& ref) { return ref.name.starts_with(prefix); };
}

namespace {

constexpr int64_t kAboveBlocks = -1, kLastNorm = -2;

// Stem and embeddings 0, block k of the trunk 1 + k.
int64_t DepthOf(std::string_view name, const std::vector<int64_t>& stage_begins) {
  if (name.starts_with("encoder.")) name.remove_prefix(8);
  for (const char* stem : {"cls_token", "pos_embed", "patch_embed.", "conv1.", "bn1."}) {
    if (name.starts_with(stem)) return 0;
  }
  int64_t stage = 0, block = 0;
  if (std::sscanf(std::string(name).c_str(), "blocks.%" SCNd64 ".", &block) == 1) return 1 + block;
  if (std::sscanf(std::string(name).c_str(), "layer%" SCNd64 ".%" SCNd64 ".", &stage, &block) == 2 && stage >= 1 &&
      stage <= 4) {
    return 1 + stage_begins[static_cast<size_t>(stage - 1)] + block;
  }
  return name.starts_with("norm.") ? kLastNorm : kAboveBlocks;
}

// How many blocks come before each of a ResNet's stages.
std::vector<int64_t> StageBegins(const WeightList& weights) {
  std::vector<int64_t> begins(5, 0);
  for (const WeightRef& ref : weights) {
    const std::string name = ref.name.starts_with("encoder.") ? ref.name.substr(8) : ref.name;
    int64_t stage = 0, block = 0;
    if (std::sscanf(name.c_str(), "layer%" SCNd64 ".%" SCNd64 ".", &stage, &block) != 2 || stage < 1 || stage > 4)
      continue;
    begins[static_cast<size_t>(stage)] = std::max(begins[static_cast<size_t>(stage)], block + 1);
  }
  for (size_t stage = 1; stage < begins.size(); ++stage) begins[stage] += begins[stage - 1];
  return begins;
}

}  // namespace

std::vector<GroupRule> LayerDecay(const WeightList& weights, double decay) {
  const std::vector<int64_t> begins = StageBegins(weights);
  int64_t blocks = 0;
  for (const WeightRef& ref : weights) blocks = std::max(blocks, DepthOf(ref.name, begins));
  std::vector<GroupRule> rules;
  for (int64_t depth = 0; depth <= blocks; ++depth) {
    rules.push_back({.matches =
                         [=](const WeightRef& ref) {
                           const int64_t own = DepthOf(ref.name, begins);
                           return own == depth || (own == kLastNorm && depth == blocks);
                         },
                     .lr_factor = std::pow(decay, static_cast<double>(blocks + 1 - depth))});
  }
  return rules;
}

std::unique_ptr<Optimizer> MakeSgd(const WeightList& weights, const SgdConfig& config,
                                   const std::vector<GroupRule>& rules) {
  return std::make_unique<Sgd>(weights, config, rules);
}

std::unique_ptr<Optimizer> MakeAdamW(const WeightList& weights, const AdamWConfig& config,
                                     const std::vector<GroupRule>& rules) {
  return std::make_unique<AdamW>(weights, config, rules);
}

double ClipGradients(const WeightList& weights, double max_norm) {
  const c10::AutoGradMode no_grad(false);
  std::vector<Tensor> gradients;
  for (const WeightRef& ref : weights) {
    if (ref.role != WeightRole::kBuffer && ref.tensor->grad().defined()) gradients.push_back(ref.tensor->grad());
  }
  if (gradients.empty()) return 0;
  const double norm = at::stack(at::_foreach_norm(gradients)).norm().item<double>();
  if (max_norm > 0 && norm > max_norm) at::_foreach_mul_(gradients, max_norm / (norm + 1e-6));
  return norm;
}

}  // namespace genview
