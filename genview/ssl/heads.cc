#include "genview/ssl/heads.h"

#include "genview/base/text.h"

namespace genview {
namespace {

enum class Norm { kNone, kPlain, kAffine };

HeadLayer MakeLayer(int64_t in, int64_t out, bool bias, Norm norm, bool relu) {
  return {MakeLinear(in, out, bias),
          norm == Norm::kNone ? BatchNormWeights{} : MakeBatchNorm(out, norm == Norm::kAffine), relu};
}

}  // namespace

Head MocoV2Projector(int64_t in, int64_t hidden, int64_t out) {
  return {{MakeLayer(in, hidden, true, Norm::kNone, true), MakeLayer(hidden, out, true, Norm::kNone, false)}};
}

Head SimClrProjector(int64_t in, int64_t hidden, int64_t out) {
  return {{MakeLayer(in, hidden, false, Norm::kAffine, true), MakeLayer(hidden, out, false, Norm::kAffine, false)}};
}

Head SimSiamProjector(int64_t in, int64_t hidden, int64_t out) {
  return {{MakeLayer(in, hidden, false, Norm::kAffine, true), MakeLayer(hidden, hidden, false, Norm::kAffine, true),
           MakeLayer(hidden, out, false, Norm::kPlain, false)}};
}

Head SimSiamPredictor(int64_t in, int64_t hidden) {
  return {{MakeLayer(in, hidden, false, Norm::kAffine, true), MakeLayer(hidden, in, true, Norm::kNone, false)}};
}

Head ByolHead(int64_t in, int64_t hidden, int64_t out) {
  return {{MakeLayer(in, hidden, true, Norm::kAffine, true), MakeLayer(hidden, out, false, Norm::kNone, false)}};
}

Head SwavProjector(int64_t in, int64_t hidden, int64_t out) {
  return {{MakeLayer(in, hidden, true, Norm::kAffine, true), MakeLayer(hidden, out, true, Norm::kNone, false)}};
}

Head MocoV3Projector(int64_t in, int64_t hidden, int64_t out, int64_t layers) {
  Head head;
  for (int64_t i = 0; i + 1 < layers; ++i) {
    head.layers.push_back(MakeLayer(i == 0 ? in : hidden, hidden, false, Norm::kAffine, true));
  }
  head.layers.push_back(MakeLayer(layers == 1 ? in : hidden, out, false, Norm::kPlain, false));
  return head;
}

Head MocoV3Predictor(int64_t in, int64_t hidden, bool last_norm) {
  return {{MakeLayer(in, hidden, false, Norm::kAffine, true),
           MakeLayer(hidden, in, false, last_norm ? Norm::kPlain : Norm::kNone, false)}};
}

WeightList ListWeights(Head& head) {
  WeightList list;
  int64_t place = 0;
  for (HeadLayer& layer : head.layers) {
    Append(list, Format("{}", place++), layer.fc);
    if (layer.norm.running_mean.defined()) Append(list, Format("{}", place++), layer.norm);
    if (layer.relu) ++place;
  }
  return list;
}

Tensor ForwardHead(const Head& w, Tensor x, bool training) {
  for (const HeadLayer& layer : w.layers) {
    x = Linear(layer.fc, x);
    if (layer.norm.running_mean.defined()) x = BatchNorm(layer.norm, x, training);
    if (layer.relu) x = at::relu(x);
  }
  return x;
}

}  // namespace genview
