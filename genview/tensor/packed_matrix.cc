// GCC 12 takes an empty std::optional<c10::SymInt> for one that is read.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include "genview/tensor/packed_matrix.h"

#include <optional>

#include <ATen/core/dispatch/Dispatcher.h>

#include "genview/tensor/device.h"
#include "genview/tensor/flop_count.h"

namespace genview {
namespace {

// Operators of LibTorch that have no function in its headers.
constexpr const char* kPack = "mkldnn::_reorder_linear_weight";
constexpr const char* kMultiply = "mkldnn::_linear_pointwise";

bool Has(const char* name) { return c10::Dispatcher::singleton().findSchema({name, ""}).has_value(); }

template <class Signature>
auto Operator(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace

bool PackingPays(at::Device device, at::ScalarType compute) {
  static const bool can = ReadCpuFeatures().amx_bf16 && Has(kPack) && Has(kMultiply);
  return can && device.is_cpu() && compute == at::kBFloat16;
}

Tensor PackMatrix(const Tensor& weight) {
  static const auto pack = Operator<Tensor(const Tensor&, std::optional<c10::SymInt>)>(kPack);
  return pack.call(weight.contiguous(), std::nullopt);
}

Tensor PackedLinear(const Tensor& x, const Tensor& packed, const Tensor& bias, AfterProduct after) {
  using Scalars = c10::List<std::optional<at::Scalar>>;
  static const auto multiply = Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&,
                                               std::string_view, Scalars, std::optional<std::string_view>)>(kMultiply);
  const std::optional<Tensor> shift = bias.defined() ? std::optional(bias.to(at::kBFloat16)) : std::nullopt;
  Tensor y =
      multiply.call(x.to(at::kBFloat16).contiguous(), packed, shift, after == AfterProduct::kNothing ? "none" : "gelu",
                    Scalars(), after == AfterProduct::kGeluTanh ? "tanh" : "none");
  AddFlops(2.0 * static_cast<double>(x.numel()) * static_cast<double>(packed.size(0)));
  return y;
}

}  // namespace genview
