// Weights of pairs, judged by a frozen encoder on the very views that are trained on.
#pragma once

#include <memory>
#include <string>

#include "genview/models/encoder.h"
#include "genview/pretrain/config.h"

namespace genview {

class QualityWeigher {
 public:
  // `training`: how the views' colours are normalised. Throws Error when encoder and foreground model do not fit together.
  QualityWeigher(const QualityConfig& config, const Preprocess& training, at::Device device, at::ScalarType compute);

  // view1, view2: [N,3,S,S] as they are trained on. -> [N] with mean 1, on the device; no gradient flows through it.
  Tensor Weigh(const Tensor& view1, const Tensor& view2) const;
  const std::string& fingerprint() const { return fingerprint_; }  // of encoder and foreground model

 private:
  Tensor Tokens(const Tensor& view) const;

  std::shared_ptr<Encoder> encoder_;
  Tensor component_;       // [C]
  Tensor scale_, shift_;   // [1,3,1,1]: from the training's colours to the encoder's
  double gamma_;
  std::string fingerprint_;
};

}  // namespace genview
