#include "genview/ssl/byol.h"

#include "genview/ssl/losses.h"

namespace genview {

Byol::Byol(const MethodConfig& c, const BackboneConfig& backbone, Seed seed)
    : PredictingMethod(
          backbone,
          [&](int64_t in) { return ByolHead(in, c.hidden > 0 ? c.hidden : 4096, c.output > 0 ? c.output : 256); },
          [&](int64_t width) { return ByolHead(width, c.predictor > 0 ? c.predictor : 4096, width); }, seed),
      start_(c.momentum),
      end_(c.final_momentum > 0 ? c.final_momentum : 1) {}

Tensor Byol::Compare(const Tensor& p1, const Tensor& p2, const Tensor& t1, const Tensor& t2) const {
  return 4 + 2 * (NegativeCosine(p1, t2) + NegativeCosine(p2, t1));
}

void Byol::AfterStep(int64_t step, int64_t total_steps) { Follow(MomentumAt(start_, end_, step, total_steps)); }

}  // namespace genview
