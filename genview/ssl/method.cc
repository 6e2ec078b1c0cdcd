#include "genview/ssl/method.h"

#include "genview/ssl/moco_v2.h"
#include "genview/ssl/simclr.h"
#include "genview/ssl/simsiam.h"

namespace genview {

std::unique_ptr<Method> MakeMethod(const MethodConfig& config, const BackboneConfig& backbone, Seed seed) {
  switch (config.kind) {
    case MethodKind::kMocoV2: return std::make_unique<MocoV2>(config, backbone, seed);
    case MethodKind::kSimClr: return std::make_unique<SimClr>(config, backbone, seed);
    case MethodKind::kSimSiam: return std::make_unique<SimSiam>(config, backbone, seed);
  }
  return nullptr;
}

}  // namespace genview
