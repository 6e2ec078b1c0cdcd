#include "genview/train/optimizer_groups.h"

#include <map>
#include <tuple>

namespace genview {
namespace {

// The kernels walk raw memory, so everything must lie in memory as the weight does.
Tensor ZerosLike(const Tensor& weight) {
  return at::zeros_like(weight.detach(), at::TensorOptions(), at::MemoryFormat::Preserve);
}

}  // namespace

std::vector<OptimizerGroup> MakeOptimizerGroups(const WeightList& weights, double weight_decay,
                                                const std::vector<GroupRule>& rules, int averages) {
  std::vector<OptimizerGroup> groups;
  std::map<std::tuple<double, double, double, bool>, size_t> known;
  for (const WeightRef& ref : weights) {
    if (ref.role == WeightRole::kBuffer) continue;
    double lr_factor = 1, fixed_lr = -1, decay = weight_decay;
    for (const GroupRule& rule : rules) {
      if (!rule.matches(ref)) continue;
      if (rule.lr_factor != 1) lr_factor = rule.lr_factor;
      if (rule.fixed_lr >= 0) fixed_lr = rule.fixed_lr;
      if (rule.weight_decay >= 0) decay = rule.weight_decay;
    }
    const bool flat = ref.tensor->dim() <= 1;
    const auto [it, added] = known.try_emplace({lr_factor, fixed_lr, decay, flat}, groups.size());
    if (added) groups.push_back({lr_factor, fixed_lr, decay, flat, {}});
    OptimizerSlot slot{ref.name, *ref.tensor, {}, {}, {}};
    if (averages >= 1) slot.first = ZerosLike(slot.weight);
    if (averages >= 2) {
      slot.second = ZerosLike(slot.weight);
      slot.updates = at::zeros({}, slot.weight.options().dtype(at::kFloat).requires_grad(false));
    }
    groups[it->second].slots.push_back(std::move(slot));
  }
  return groups;
}

OptimizerLists CollectGradients(const OptimizerGroup& group) {
  OptimizerLists lists;
  for (const OptimizerSlot& slot : group.slots) {
    Tensor gradient = slot.weight.grad();
    if (!gradient.defined()) continue;
    if (gradient.strides() != slot.weight.strides() || gradient.scalar_type() != slot.weight.scalar_type()) {
      gradient = at::empty_like(slot.weight.detach()).copy_(gradient);
    }
    lists.weights.push_back(slot.weight);
    lists.gradients.push_back(gradient);
    if (slot.first.defined()) lists.first.push_back(slot.first);
    if (slot.second.defined()) lists.second.push_back(slot.second);
    if (slot.updates.defined()) lists.updates.push_back(slot.updates);
  }
  return lists;
}

std::vector<std::pair<std::string, Tensor>> MomentumState(const std::vector<OptimizerGroup>& groups,
                                                          const std::string& prefix) {
  std::vector<std::pair<std::string, Tensor>> state;
  for (const OptimizerGroup& group : groups) {
    for (const OptimizerSlot& slot : group.slots) {
      if (slot.first.defined()) state.emplace_back(prefix + "momentum." + slot.name, slot.first);
    }
  }
  return state;
}

void LoadMomentum(std::vector<OptimizerGroup>& groups, WeightReader& reader, const std::string& prefix) {
  for (OptimizerGroup& group : groups) {
    for (OptimizerSlot& slot : group.slots) {
      if (slot.first.defined()) slot.first.copy_(reader.Take(prefix + "momentum." + slot.name, slot.first.sizes()));
    }
  }
}

}  // namespace genview
