#include "genview/train/lars.h"

#include <c10/core/GradMode.h>

#include <stdexcept>
#include <utility>

#include "genview/train/optimizer_groups.h"

namespace genview {
namespace {

class Lars final : public Optimizer {
 public:
  Lars(const WeightList& weights, const LarsConfig& config, const std::vector<GroupRule>& rules)
      : config_(config), groups_(MakeOptimizerGroups(weights, config.weight_decay, rules, 1)) {
    if (config_.trust == 0) config_.trust = Is(LarsVariant::kSoloLearn) ? 0.02 : 1e-3;
  }

  void Step(double lr) override {
    const c10::AutoGradMode no_grad(false);
    const bool rate_in_momentum = Is(LarsVariant::kMmpretrain) || Is(LarsVariant::kSimclr);
    for (const OptimizerGroup& group : groups_) {
      const OptimizerLists lists = CollectGradients(group);
      if (lists.weights.empty()) continue;
      const double rate = group.Rate(lr);
      std::vector<Tensor> updates =
          group.flat && !Is(LarsVariant::kLarc) ? lists.gradients : Scaled(lists, group.weight_decay, rate);
      if (rate_in_momentum) updates = at::_foreach_mul(updates, rate);
      // The momentum begins at zero, which without dampening is the same as beginning with the first update.
      at::_fused_sgd_(lists.weights, updates, lists.first, /*weight_decay=*/0, config_.momentum,
                      rate_in_momentum ? 1 : rate,
                      /*dampening=*/0, /*nesterov=*/false, /*maximize=*/false, /*is_first_step=*/false);
    }
  }

  std::vector<std::pair<std::string, Tensor>> State(const std::string& prefix) const override {
    return MomentumState(groups_, prefix);
  }
  void LoadState(WeightReader& reader, const std::string& prefix) override { LoadMomentum(groups_, reader, prefix); }

 private:
  bool Is(LarsVariant variant) const { return config_.variant == variant; }

  // The gradients with their decay, times the weights' scales. Nothing is waited for: it all stays on the device.
  std::vector<Tensor> Scaled(const OptimizerLists& lists, double decay, double rate) const {
    const bool joint = Is(LarsVariant::kMocoV3) || Is(LarsVariant::kSimclr);
    std::vector<Tensor> updates = at::_foreach_add(lists.gradients, lists.weights, decay);
    const Tensor weight = at::stack(at::_foreach_norm(lists.weights));                        // [P]
    const Tensor gradient = at::stack(at::_foreach_norm(joint ? updates : lists.gradients));  // [P]
    Tensor scale = config_.trust * weight / (joint ? gradient : gradient + decay * weight + 1e-8);
    if (Is(LarsVariant::kSoloLearn)) scale = (scale / rate).clamp_max(1);
    // A gradient of 0 taken as it is means no decay either, that is a scale of 0; a weight of 0 has no decay anyway.
    const double still = Is(LarsVariant::kSoloLearn) || Is(LarsVariant::kLarc) ? 0 : 1;
    scale = scale.masked_fill(gradient == 0, still).masked_fill(weight == 0, 1);
    at::_foreach_mul_(updates, scale.unbind());
    return updates;
  }

  LarsConfig config_;
  std::vector<OptimizerGroup> groups_;
};

}  // namespace

LarsVariant LarsVariantOf(std::string_view optimizer) {
  constexpr std::pair<std::string_view, LarsVariant> kNames[] = {{"lars", LarsVariant::kMocoV3},
                                                                 {"lars-mmpretrain", LarsVariant::kMmpretrain},
                                                                 {"lars-simclr", LarsVariant::kSimclr},
                                                                 {"lars-solo", LarsVariant::kSoloLearn},
                                                                 {"larc", LarsVariant::kLarc}};
  for (const auto& [name, variant] : kNames) {
    if (optimizer == name) return variant;
  }
  throw std::logic_error("no LARS has this name");
}

std::unique_ptr<Optimizer> MakeLars(const WeightList& weights, const LarsConfig& config,
                                    const std::vector<GroupRule>& rules) {
  return std::make_unique<Lars>(weights, config, rules);
}

}  // namespace genview
