// Layer-wise rates: each weight's update is scaled by the ratio of its length to that of its gradient, so that batches
// of thousands train. Five rules go by the name of LARS, and a rate tuned for one does not suit another (g gradient, w
// weight, d decay, eta trust):
//
//   variant       scale                            rate          biases and norms   where w or g is 0
//   kMocoV3       eta |w| / |g + d w|              outside       plain, no decay    scale 1           MoCo v3, BYOL
//   kMmpretrain   eta |w| / (|g| + d |w| + 1e-8)   in momentum   plain, no decay    scale 1           MMPretrain
//   kSimclr       eta |w| / |g + d w|              in momentum   plain, no decay    scale 1           SimCLR in TensorFlow
//   kSoloLearn    as kMmpretrain, at most the rate outside       plain, no decay    g as it is        solo-learn: eta 0.02
//   kLarc         as kMmpretrain                   outside       as all others      g as it is        SwAV; lightly's LARS
//
// "In momentum" against "outside" differs while the rate changes.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "genview/train/optimizer.h"

namespace genview {

enum class LarsVariant { kMocoV3, kMmpretrain, kSimclr, kSoloLearn, kLarc };

// Of the name that a recipe's `optimizer` has for it: lars (MoCo v3's), lars-mmpretrain, lars-simclr, lars-solo, larc.
LarsVariant LarsVariantOf(std::string_view optimizer);

struct LarsConfig {
  LarsVariant variant = LarsVariant::kMocoV3;
  double momentum = 0.9;
  double weight_decay = 1e-6;
  double trust = 0;  // eta; 0: the variant's own, 0.001 or 0.02
};

std::unique_ptr<Optimizer> MakeLars(const WeightList& weights, const LarsConfig& config,
                                    const std::vector<GroupRule>& rules = {});

}  // namespace genview
