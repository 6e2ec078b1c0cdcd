#include "genview/ssl/moco_v3.h"

#include "genview/ssl/losses.h"

namespace genview {
namespace {

bool IsVit(const BackboneConfig& backbone) { return backbone.type.starts_with("vit-"); }

}  // namespace

MocoV3::MocoV3(const MethodConfig& c, const BackboneConfig& backbone, Seed seed)
    : PredictingMethod(
          backbone,
          [&](int64_t in) {
            return MocoV3Projector(in, c.hidden > 0 ? c.hidden : 4096, c.output > 0 ? c.output : 256,
                                   IsVit(backbone) ? 3 : 2);
          },
          [&](int64_t width) {
            return MocoV3Predictor(width, c.predictor > 0 ? c.predictor : 4096, /*last_norm=*/IsVit(backbone));
          },
          seed),
      temperature_(c.temperature),
      start_(c.momentum),
      end_(c.final_momentum > 0 ? c.final_momentum : 1) {}

Tensor MocoV3::Compare(const Tensor& p1, const Tensor& p2, const Tensor& t1, const Tensor& t2) const {
  return MocoV3Loss(p1, p2, t1, t2, temperature_);
}

void MocoV3::AfterStep(int64_t step, int64_t total_steps) { Follow(MomentumAt(start_, end_, step + 1, total_steps)); }

}  // namespace genview
