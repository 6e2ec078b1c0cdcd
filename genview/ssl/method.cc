#include "genview/ssl/method.h"

#include <stdexcept>

#include "genview/base/error.h"
#include "genview/ssl/byol.h"
#include "genview/ssl/moco_v2.h"
#include "genview/ssl/moco_v3.h"
#include "genview/ssl/multi_positive.h"
#include "genview/ssl/simclr.h"
#include "genview/ssl/simsiam.h"
#include "genview/ssl/swav.h"

namespace genview {

Tensor Method::MultiViewLoss(const Tensor& view1, const Tensor& view2, const std::vector<Tensor>& more) {
  GENVIEW_CHECK(more.empty(), "the method has no use for further views");
  return PairLoss(view1, view2);
}

Tensor Method::Key(const Tensor&) const { throw std::logic_error("the method has no keys of their own"); }

Tensor Method::LossWithKeys(const Tensor&, const Tensor&, const std::vector<Tensor>&) {
  throw std::logic_error("the method has no keys of their own");
}

std::unique_ptr<Method> MakeMethod(const MethodConfig& config, const BackboneConfig& backbone, Seed seed) {
  switch (config.kind) {
    case MethodKind::kMocoV2:
      return std::make_unique<MocoV2>(config, backbone, seed);
    case MethodKind::kSimClr:
      return std::make_unique<SimClr>(config, backbone, seed);
    case MethodKind::kSimSiam:
      return std::make_unique<SimSiam>(config, backbone, seed);
    case MethodKind::kByol:
      return std::make_unique<Byol>(config, backbone, seed);
    case MethodKind::kSwav:
      return std::make_unique<Swav>(config, backbone, seed);
    case MethodKind::kMocoV3:
      return std::make_unique<MocoV3>(config, backbone, seed);
    case MethodKind::kMultiPositive:
      return std::make_unique<MultiPositive>(config, backbone, seed);
  }
  return nullptr;
}

}  // namespace genview
