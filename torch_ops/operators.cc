// GenView's mathematics as operators of PyTorch: torch.ops.load_library("libgenview_torch.so"), then
// torch.ops.genview.*.
//
// Each is a composition of ATen's own operators, registered for every device at once: gradients, CUDA, meta tensors and
// torch.compile follow from theirs. What they compute is the library's own code (genview/ssl/losses.h,
// genview/foreground/quality.h). Values that are wrong in shape raise RuntimeError with the name of the argument.
#include <torch/library.h>

#include "genview/foreground/quality.h"
#include "genview/ssl/losses.h"

namespace genview {
namespace {

// [N,C,H,W] or tokens [N,T,C] -> [N,T,C].
Tensor Tokens(const Tensor& features, const char* name) {
  TORCH_CHECK(features.dim() == 3 || features.dim() == 4, name, " has ", features.dim(),
              " dimensions, wanted are [N,C,H,W] or [N,T,C]");
  return features.dim() == 4 ? features.flatten(2).transpose(1, 2) : features;
}

Tensor DifferentiableForegroundMap(const Tensor& features, const Tensor& component) {
  TORCH_CHECK(component.dim() == 1, "component has ", component.dim(), " dimensions, wanted is [C]");
  ExpectShape(features, {-1, component.size(0), -1, -1}, "features");
  const bool half = features.scalar_type() == at::kHalf || features.scalar_type() == at::kBFloat16;
  const Tensor full = half ? features.to(at::kFloat) : features;
  const Tensor map = SoftForeground(full.flatten(2).transpose(1, 2), component.to(full.options()));
  return map.reshape({features.size(0), features.size(2), features.size(3)});
}

Tensor MapPairQuality(const Tensor& features1, const Tensor& features2, const Tensor& component, double gamma) {
  TORCH_CHECK(component.dim() == 1, "component has ", component.dim(), " dimensions, wanted is [C]");
  return PairQuality(Tokens(features1, "features1"), Tokens(features2, "features2"), component, gamma);
}

}  // namespace
}  // namespace genview

TORCH_LIBRARY(genview, library) {
  library.def("foreground_map(Tensor features, Tensor component) -> Tensor", &genview::DifferentiableForegroundMap);
  library.def("pair_quality(Tensor features1, Tensor features2, Tensor component, float gamma=1.0) -> Tensor",
              &genview::MapPairQuality);
  library.def("info_nce(Tensor q, Tensor k, Tensor queue, float temperature) -> Tensor", &genview::InfoNce);
  library.def("nt_xent(Tensor z1, Tensor z2, float temperature) -> Tensor", &genview::NtXent);
  library.def("negative_cosine(Tensor p, Tensor z) -> Tensor", &genview::NegativeCosine);
  library.def(
      "swapped_prediction(Tensor scores1, Tensor scores2, float temperature, float epsilon, int iterations) -> Tensor",
      &genview::SwappedPrediction);
  library.def("moco_v3(Tensor q1, Tensor q2, Tensor k1, Tensor k2, float temperature) -> Tensor", &genview::MocoV3Loss);
}
