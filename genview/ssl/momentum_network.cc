#include "genview/ssl/momentum_network.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <c10/core/GradMode.h>

namespace genview {

MomentumNetwork::MomentumNetwork(const BackboneConfig& backbone, Head projector) : projector_(std::move(projector)) {
  BackboneConfig whole = backbone;
  whole.drop_path = 0;
  encoder_ = MakeBackbone(whole);
  UseChannelsLast(Weights());
}

void MomentumNetwork::Copy(const WeightList& online) { CopyWeights(Weights(), online); }

Tensor MomentumNetwork::Project(const Tensor& view) const {
  const c10::AutoGradMode no_grad(false);
  return ForwardHead(projector_, encoder_->Forward(view, /*training=*/true).pooled, true);
}

void MomentumNetwork::Follow(const WeightList& online, double momentum) {
  const c10::AutoGradMode no_grad(false);
  AverageWeights(Weights(), online, momentum);
}

WeightList MomentumNetwork::Weights() {
  WeightList list;
  AppendAll(list, "momentum_encoder", encoder_->Weights());
  AppendAll(list, "momentum_projector", ListWeights(projector_));
  return list;
}

double MomentumAt(double base, double final, int64_t step, int64_t total_steps) {
  const double progress = static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, total_steps));
  return final - (final - base) * 0.5 * (1 + std::cos(std::numbers::pi * std::clamp(progress, 0.0, 1.0)));
}

}  // namespace genview
