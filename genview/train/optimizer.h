// SGD and AdamW over a model's list of weights (LARS: lars.h), computed by LibTorch's fused kernels in fp32.
//
//   auto optimizer = MakeSgd(weights, {.momentum = 0.9, .weight_decay = 1e-4},
//                            {NoDecayForBiasAndNorms(), {.matches = NameBegins("predictor."), .fixed_lr = 0.05}});
//   loss.backward();
//   ClipGradients(weights, 1.0);
//   optimizer->Step(schedule.At(step));
//   ZeroGrad(weights);
//
// Weights without a gradient are passed over. The list's tensors must outlive the optimiser and stay the same tensors:
// move, convert and lay them out before it is made.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "genview/models/weight_list.h"

namespace genview {

struct SgdConfig {
  double momentum = 0.9;
  double weight_decay = 1e-4;  // added to the gradient
  bool nesterov = false;
};

struct AdamWConfig {
  double beta1 = 0.9, beta2 = 0.999;
  double weight_decay = 0.01;  // decoupled: weight <- weight * (1 - lr * weight_decay)
  double eps = 1e-8;
};

// What is special about some weights. All rules that match a weight apply; where two set the same thing the later wins.
struct GroupRule {
  std::function<bool(const WeightRef&)> matches;
  double lr_factor = 1;      // times the rate given to Step
  double fixed_lr = -1;      // >= 0: this rate at every step instead
  double weight_decay = -1;  // >= 0: instead of the config's
};

GroupRule NoDecayForBiasAndNorms();  // biases, gammas, betas: weight decay 0
std::function<bool(const WeightRef&)> NameBegins(std::string prefix);
// Rates that shrink by `decay` from each block of a ResNet or ViT to the one before it, as timm has them: 1 for heads,
// `decay` for the last block and the norm after it, least for stem and embeddings.
std::vector<GroupRule> LayerDecay(const WeightList& weights, double decay);

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  virtual void Step(double lr) = 0;

  // Everything a resume needs, as `<prefix>momentum.<weight>` and the like. The tensors share memory with the
  // optimiser.
  virtual std::vector<std::pair<std::string, Tensor>> State(const std::string& prefix = "optimizer.") const = 0;
  virtual void LoadState(WeightReader& reader, const std::string& prefix = "optimizer.") = 0;
};

std::unique_ptr<Optimizer> MakeSgd(const WeightList& weights, const SgdConfig& config,
                                   const std::vector<GroupRule>& rules = {});
std::unique_ptr<Optimizer> MakeAdamW(const WeightList& weights, const AdamWConfig& config,
                                     const std::vector<GroupRule>& rules = {});

// Scales all gradients so that their common L2 norm is at most `max_norm` (0: leaves them); returns the norm before.
double ClipGradients(const WeightList& weights, double max_norm);

}  // namespace genview
