// What the optimisers share: the weights in groups of one rate and one decay, with their running averages.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "genview/train/optimizer.h"

namespace genview {

struct OptimizerSlot {  // one trained weight
  std::string name;
  Tensor weight;
  Tensor first, second;  // momentum; or the averages of the gradient and of its square
  Tensor updates;        // [] fp32, with two averages: how many the weight has had; it may get its first gradient late
};

struct OptimizerGroup {
  double lr_factor, fixed_lr, weight_decay;
  bool flat;  // biases and norms, of one extent or none
  std::vector<OptimizerSlot> slots;

  double Rate(double lr) const { return fixed_lr >= 0 ? fixed_lr : lr * lr_factor; }
};

// What one call of a fused kernel needs: the weights of a group that have a gradient.
struct OptimizerLists {
  std::vector<Tensor> weights, gradients, first, second, updates;
};

// `averages`: of 0, 1 or 2 kinds, kept per weight. Flat weights get groups of their own.
std::vector<OptimizerGroup> MakeOptimizerGroups(const WeightList& weights, double weight_decay,
                                                const std::vector<GroupRule>& rules, int averages);
OptimizerLists CollectGradients(const OptimizerGroup& group);

// The first average of every weight as `<prefix>momentum.<weight>`.
std::vector<std::pair<std::string, Tensor>> MomentumState(const std::vector<OptimizerGroup>& groups,
                                                          const std::string& prefix);
void LoadMomentum(std::vector<OptimizerGroup>& groups, WeightReader& reader, const std::string& prefix);

}  // namespace genview
