// GenView's mathematics as operators of PyTorch: torch.ops.load_library("libgenview_torch.so"), then
// torch.ops.genview.*.
//
// Each is a composition of ATen's own operators, registered for every device at once: gradients, CUDA, meta tensors and
// torch.compile follow from theirs. What they compute is the library's own code (genview/ssl/losses.h,
// genview/foreground/quality.h). Values that are wrong in shape raise RuntimeError with the name of the argument.
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

#include <cmath>
#include <initializer_list>
#include <utility>

#include "genview/foreground/quality.h"
#include "genview/ssl/losses.h"

namespace genview {
namespace {

void CheckFloats(const Tensor& tensor, const char* name) {
  TORCH_CHECK(at::isFloatingType(tensor.scalar_type()), name, " is of type ", tensor.scalar_type(),
              ", wanted is a floating type");
}

// [N,C,H,W] or tokens [N,T,C] -> [N,T,C].
Tensor Tokens(const Tensor& features, const char* name) {
  CheckFloats(features, name);
  TORCH_CHECK(features.dim() == 3 || features.dim() == 4, name, " has ", features.dim(),
              " dimensions, wanted are [N,C,H,W] or [N,T,C]");
  const Tensor tokens = features.dim() == 4 ? features.flatten(2).transpose(1, 2) : features;
  TORCH_CHECK(tokens.size(1) > 0, name, " has maps without a place, wanted is at least one");
  return tokens;
}

Tensor DifferentiableForegroundMap(const Tensor& features, const Tensor& component) {
  CheckFloats(features, "features");
  CheckFloats(component, "component");
  TORCH_CHECK(component.dim() == 1, "component has ", component.dim(), " dimensions, wanted is [C]");
  ExpectShape(features, {-1, component.size(0), -1, -1}, "features");
  TORCH_CHECK(features.size(2) > 0 && features.size(3) > 0, "features are maps of ", features.size(2), " x ",
              features.size(3), ", wanted is at least one place");
  const c10::impl::ExcludeDispatchKeyGuard full_precision(c10::autocast_dispatch_keyset);
  const bool half = features.scalar_type() == at::kHalf || features.scalar_type() == at::kBFloat16;
  const Tensor full = half ? features.to(at::kFloat) : features;
  const Tensor map = SoftForeground(full.flatten(2).transpose(1, 2), component.to(full.options()));
  return map.reshape({features.size(0), features.size(2), features.size(3)});
}

Tensor MapPairQuality(const Tensor& features1, const Tensor& features2, const Tensor& component, double gamma) {
  TORCH_CHECK(component.dim() == 1, "component has ", component.dim(), " dimensions, wanted is [C]");
  CheckFloats(component, "component");
  TORCH_CHECK(std::isfinite(gamma), "gamma is ", gamma, ", wanted is a number");
  const Tensor tokens1 = Tokens(features1, "features1"), tokens2 = Tokens(features2, "features2");
  TORCH_CHECK(tokens1.sizes() == tokens2.sizes(), "features2 has the shape ", features2.sizes(), ", features1 ",
              features1.sizes(), "; wanted is one shape");
  return PairQuality(tokens1, tokens2, component, gamma);
}

// What a division by it or a logarithm would turn into garbage without a word.
void CheckPositive(double value, const char* name) {
  TORCH_CHECK(value > 0 && std::isfinite(value), name, " is ", value, ", wanted is a number above 0");
}

// Inputs in half precision are computed in fp32; of others all have one type.
void CheckTypes(std::initializer_list<std::pair<const char*, const Tensor*>> tensors) {
  const auto computed = [](const Tensor& x) {
    return x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16 ? at::kFloat : x.scalar_type();
  };
  const auto& [first_name, first] = *tensors.begin();
  for (const auto& [name, tensor] : tensors) {
    CheckFloats(*tensor, name);
    TORCH_CHECK(computed(*tensor) == computed(*first), name, " is of type ", tensor->scalar_type(), ", ", first_name,
                " of type ", first->scalar_type(), "; wanted is one type");
  }
}

Tensor CheckedInfoNce(const Tensor& q, const Tensor& k, const Tensor& queue, double temperature) {
  CheckPositive(temperature, "temperature");
  CheckTypes({{"q", &q}, {"k", &k}, {"queue", &queue}});
  return InfoNce(q, k, queue, temperature);
}

Tensor CheckedNtXent(const Tensor& z1, const Tensor& z2, double temperature) {
  CheckPositive(temperature, "temperature");
  CheckTypes({{"z1", &z1}, {"z2", &z2}});
  return NtXent(z1, z2, temperature);
}

Tensor CheckedNegativeCosine(const Tensor& p, const Tensor& z) {
  CheckTypes({{"p", &p}, {"z", &z}});
  return NegativeCosine(p, z);
}

Tensor CheckedSwappedPrediction(const Tensor& scores1, const Tensor& scores2, double temperature, double epsilon,
                                int64_t iterations) {
  CheckPositive(temperature, "temperature");
  CheckPositive(epsilon, "epsilon");
  TORCH_CHECK(iterations >= 0, "iterations is ", iterations, ", wanted is a number from 0 on");
  CheckTypes({{"scores1", &scores1}, {"scores2", &scores2}});
  return SwappedPrediction(scores1, scores2, temperature, epsilon, iterations);
}

Tensor CheckedMocoV3(const Tensor& q1, const Tensor& q2, const Tensor& k1, const Tensor& k2, double temperature) {
  CheckPositive(temperature, "temperature");
  CheckTypes({{"q1", &q1}, {"q2", &q2}, {"k1", &k1}, {"k2", &k2}});
  return MocoV3Loss(q1, q2, k1, k2, temperature);
}

}  // namespace
}  // namespace genview

TORCH_LIBRARY(genview, library) {
  library.def("foreground_map(Tensor features, Tensor component) -> Tensor", &genview::DifferentiableForegroundMap);
  library.def("pair_quality(Tensor features1, Tensor features2, Tensor component, float gamma=1.0) -> Tensor",
              &genview::MapPairQuality);
  library.def("info_nce(Tensor q, Tensor k, Tensor queue, float temperature) -> Tensor", &genview::CheckedInfoNce);
  library.def("nt_xent(Tensor z1, Tensor z2, float temperature) -> Tensor", &genview::CheckedNtXent);
  library.def("negative_cosine(Tensor p, Tensor z) -> Tensor", &genview::CheckedNegativeCosine);
  library.def(
      "swapped_prediction(Tensor scores1, Tensor scores2, float temperature, float epsilon, int iterations) -> Tensor",
      &genview::CheckedSwappedPrediction);
  library.def("moco_v3(Tensor q1, Tensor q2, Tensor k1, Tensor k2, float temperature) -> Tensor",
              &genview::CheckedMocoV3);
}
