#include "genview/train/optimizer.h"

#include <map>
#include <tuple>

#include <c10/core/GradMode.h>

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {
namespace {

struct Slot {  // one trained weight
  std::string name;
  Tensor weight;
  Tensor first, second;  // momentum; or the averages of the gradient and of its square
};

struct Group {
  double lr_factor, fixed_lr, weight_decay;
  std::vector<Slot> slots;

  double Rate(double lr) const { return fixed_lr >= 0 ? fixed_lr : lr * lr_factor; }
};

// What one call of a fused kernel needs: the weights of a group that have a gradient.
struct Lists {
  std::vector<Tensor> weights, gradients, first, second;
};

// The kernels walk raw memory, so everything must lie in memory as the weight does.
Tensor ZerosLike(const Tensor& weight) { return at::zeros_like(weight.detach(), at::TensorOptions(), at::MemoryFormat::Preserve); }

Lists Collect(Group& group) {
  Lists lists;
  for (Slot& slot : group.slots) {
    Tensor gradient = slot.weight.grad();
    if (!gradient.defined()) continue;
    if (gradient.strides() != slot.weight.strides() || gradient.scalar_type() != slot.weight.scalar_type()) {
      gradient = at::empty_like(slot.weight.detach()).copy_(gradient);
    }
    lists.weights.push_back(slot.weight);
    lists.gradients.push_back(gradient);
    if (slot.first.defined()) lists.first.push_back(slot.first);
    if (slot.second.defined()) lists.second.push_back(slot.second);
  }
  return lists;
}

std::vector<Group> MakeGroups(const WeightList& weights, double weight_decay, const std::vector<GroupRule>& rules, int averages) {
  std::vector<Group> groups;
  std::map<std::tuple<double, double, double>, size_t> known;
  for (const WeightRef& ref : weights) {
    if (ref.role == WeightRole::kBuffer) continue;
    double lr_factor = 1, fixed_lr = -1, decay = weight_decay;
    for (const GroupRule& rule : rules) {
      if (!rule.matches(ref)) continue;
      if (rule.lr_factor != 1) lr_factor = rule.lr_factor;
      if (rule.fixed_lr >= 0) fixed_lr = rule.fixed_lr;
      if (rule.weight_decay >= 0) decay = rule.weight_decay;
    }
    const auto [it, added] = known.try_emplace({lr_factor, fixed_lr, decay}, groups.size());
    if (added) groups.push_back({lr_factor, fixed_lr, decay, {}});
    Slot slot{ref.name, *ref.tensor, {}, {}};
    if (averages >= 1) slot.first = ZerosLike(slot.weight);
    if (averages >= 2) slot.second = ZerosLike(slot.weight);
    groups[it->second].slots.push_back(std::move(slot));
  }
  return groups;
}

class Sgd final : public Optimizer {
 public:
  Sgd(const WeightList& weights, const SgdConfig& config, const std::vector<GroupRule>& rules)
      : config_(config), groups_(MakeGroups(weights, config.weight_decay, rules, config.momentum != 0 ? 1 : 0)) {}

  void Step(double lr) override {
    const c10::AutoGradMode no_grad(false);
    for (Group& group : groups_) {
      Lists lists = Collect(group);
      if (lists.weights.empty()) continue;
      // The momentum begins at zero, which without dampening is the same as beginning with the first gradient.
      at::_fused_sgd_(lists.weights, lists.gradients, lists.first, group.weight_decay, config_.momentum, group.Rate(lr),
                      /*dampening=*/0, config_.nesterov, /*maximize=*/false, /*is_first_step=*/false);
    }
  }

  std::vector<std::pair<std::string, Tensor>> State(const std::string& prefix) const override {
    std::vector<std::pair<std::string, Tensor>> state;
    for (const Group& group : groups_) {
      for (const Slot& slot : group.slots) {
        if (slot.first.defined()) state.emplace_back(prefix + "momentum." + slot.name, slot.first);
      }
    }
    return state;
  }

  void LoadState(WeightReader& reader, const std::string& prefix) override {
    for (Group& group : groups_) {
      for (Slot& slot : group.slots) {
        if (slot.first.defined()) slot.first.copy_(reader.Take(prefix + "momentum." + slot.name, slot.first.sizes()));
      }
    }
  }

 private:
  SgdConfig config_;
  std::vector<Group> groups_;
};

class AdamW final : public Optimizer {
 public:
  AdamW(const WeightList& weights, const AdamWConfig& config, const std::vector<GroupRule>& rules)
      : config_(config), groups_(MakeGroups(weights, config.weight_decay, rules, 2)) {}

  void Step(double lr) override {
    const c10::AutoGradMode no_grad(false);
    ++step_;
    for (Group& group : groups_) {
      Lists lists = Collect(group);
      if (lists.weights.empty()) continue;
      // The kernels take one step count a weight; all of ours are the same.
      const Tensor step = at::full({}, static_cast<double>(step_), lists.weights[0].options().dtype(at::kFloat));
      const std::vector<Tensor> steps(lists.weights.size(), step);
      at::_fused_adamw_(lists.weights, lists.gradients, lists.first, lists.second, {}, steps, group.Rate(lr), config_.beta1,
                        config_.beta2, group.weight_decay, config_.eps, /*amsgrad=*/false, /*maximize=*/false);
    }
  }

  std::vector<std::pair<std::string, Tensor>> State(const std::string& prefix) const override {
    std::vector<std::pair<std::string, Tensor>> state{{prefix + "step", at::full({}, step_, at::kLong)}};
    for (const Group& group : groups_) {
      for (const Slot& slot : group.slots) {
        state.emplace_back(prefix + "mean." + slot.name, slot.first);
        state.emplace_back(prefix + "square." + slot.name, slot.second);
      }
    }
    return state;
  }

  void LoadState(WeightReader& reader, const std::string& prefix) override {
    step_ = reader.Take(prefix + "step", {}).item<int64_t>();
    for (Group& group : groups_) {
      for (Slot& slot : group.slots) {
        slot.first.copy_(reader.Take(prefix + "mean." + slot.name, slot.first.sizes()));
        slot.second.copy_(reader.Take(prefix + "square." + slot.name, slot.second.sizes()));
      }
    }
  }

 private:
  AdamWConfig config_;
  std::vector<Group> groups_;
  int64_t step_ = 0;  // updates done
};

}  // namespace

GroupRule NoDecayForBiasAndNorms() {
  return {.matches = [](const WeightRef& ref) {
            return ref.role == WeightRole::kBias || ref.role == WeightRole::kNormScale || ref.role == WeightRole::kNormShift;
          },
          .weight_decay = 0};
}

std::function<bool(const WeightRef&)> NameBegins(std::string prefix) {
  return [prefix = std::move(prefix)](const WeightRef& ref) { return ref.name.starts_with(prefix); };
}

std::unique_ptr<Optimizer> MakeSgd(const WeightList& weights, const SgdConfig& config, const std::vector<GroupRule>& rules) {
  return std::make_unique<Sgd>(weights, config, rules);
}

std::unique_ptr<Optimizer> MakeAdamW(const WeightList& weights, const AdamWConfig& config, const std::vector<GroupRule>& rules) {
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
