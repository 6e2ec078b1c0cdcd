// Projectors and predictors: small perceptrons on top of an encoder. Names are those of a torch Sequential of the
// layers (`0.weight`, `1.running_mean`, ...), which is how the original checkpoints have them.
#pragma once

#include <vector>

#include "genview/models/blocks.h"

namespace genview {

struct HeadLayer {
  LinearWeights fc;
  BatchNormWeights norm;  // undefined tensors: none
  bool relu = false;
};

struct Head {
  std::vector<HeadLayer> layers;
};

Head MocoV2Projector(int64_t in, int64_t hidden, int64_t out);   // fc, ReLU, fc: biases, no norm
Head SimClrProjector(int64_t in, int64_t hidden, int64_t out);   // fc, norm, ReLU, fc, norm: no biases
Head SimSiamProjector(int64_t in, int64_t hidden, int64_t out);  // three fc with norms, the last norm without affine
Head SimSiamPredictor(int64_t in, int64_t hidden);               // fc, norm, ReLU, fc back to `in` with bias
Head ByolHead(int64_t in, int64_t hidden, int64_t out);       // fc with bias, norm, ReLU, fc: projector and predictor
Head SwavProjector(int64_t in, int64_t hidden, int64_t out);  // fc, norm, ReLU, fc: biases
// `layers` fc with norms and no biases, the last norm without affine.
Head MocoV3Projector(int64_t in, int64_t hidden, int64_t out, int64_t layers);
// Two fc without biases back to `in`, the first with a norm.
Head MocoV3Predictor(int64_t in, int64_t hidden, bool last_norm);

WeightList ListWeights(Head& head);
Tensor ForwardHead(const Head& w, Tensor x, bool training);  // [N,in] -> [N,out]

}  // namespace genview
