#include "genview/pretrain/quality_weigher.h"

#include <c10/core/InferenceMode.h>

#include "genview/base/hash.h"
#include "genview/foreground/pca.h"
#include "genview/foreground/quality.h"

namespace genview {

QualityWeigher::QualityWeigher(const QualityConfig& config, const Preprocess& training, at::Device device, at::ScalarType compute)
    : encoder_(Encoder::Open(config.encoder, device, compute)), gamma_(config.gamma) {
  const ForegroundModel model = ReadForegroundModel(config.foreground);
  CheckModelFits(model, config.foreground, encoder_->token_width(), encoder_->fingerprint(), encoder_->name());
  component_ = model.component.to(device);
  const auto per_channel = [&](auto&& value) {
    return at::tensor({value(0), value(1), value(2)}, at::kFloat).view({1, 3, 1, 1}).to(device);
  };
  const Preprocess& own = encoder_->preprocess();
  scale_ = per_channel([&](size_t c) { return training.std[c] / own.std[c]; });
  shift_ = per_channel([&](size_t c) { return (training.mean[c] - own.mean[c]) / own.std[c]; });
  fingerprint_ = Fingerprint(encoder_->fingerprint() + FingerprintFile(config.foreground));
}

Tensor QualityWeigher::Tokens(const Tensor& view) const {
  Tensor pixels = view * scale_ + shift_;
  const int64_t size = encoder_->preprocess().size;
  if (pixels.size(2) != size || pixels.size(3) != size) {
    pixels = at::_upsample_bicubic2d_aa(pixels, at::IntArrayRef{size, size}, /*align_corners=*/false);
  }
  return encoder_->Encode(pixels, /*tokens=*/true).tokens;
}

Tensor QualityWeigher::Weigh(const Tensor& view1, const Tensor& view2) const {
  Tensor weights;
  {
    const c10::InferenceMode guard;
    const at::Device device = encoder_->device();
    weights = PairQuality(Tokens(view1.to(device)), Tokens(view2.to(device)), component_, gamma_);
  }
  return weights.clone();  // made outside: a tensor of inference mode cannot take part in a loss
}

}  // namespace genview
