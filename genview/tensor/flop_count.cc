#include "genview/tensor/flop_count.h"

#include <ATen/record_function.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string_view>
#include <vector>

#include "genview/tensor/tensor.h"

namespace genview {
namespace {

std::atomic<double> total{0};  // the callback of LibTorch carries no state of ours

double Product(const Tensor& left, const Tensor& right) {  // [..,n,k] x [..,k,m]
  return 2.0 * static_cast<double>(left.numel()) * static_cast<double>(right.size(-1));
}

double Convolution(const Tensor& weight, int64_t batch, const std::vector<int64_t>& places) {
  double flops = 2.0 * static_cast<double>(weight.numel()) * static_cast<double>(batch);
  for (const int64_t extent : places) flops *= static_cast<double>(extent);
  return flops;
}

// Extents of the output of aten::convolution(input, weight, bias, stride, padding, dilation, ...).
std::vector<int64_t> PlacesOf(c10::ArrayRef<const c10::IValue> in) {
  const Tensor &input = in[0].toTensor(), &weight = in[1].toTensor();
  const auto stride = in[3].toIntVector(), padding = in[4].toIntVector(), dilation = in[5].toIntVector();
  std::vector<int64_t> places;
  for (int64_t axis = 2; axis < input.dim(); ++axis) {
    const auto of = [&](const std::vector<int64_t>& list) {  // one value may stand for all axes
      return list[std::min(list.size() - 1, static_cast<size_t>(axis - 2))];
    };
    places.push_back((input.size(axis) + 2 * of(padding) - of(dilation) * (weight.size(axis) - 1) - 1) / of(stride) +
                     1);
  }
  return places;
}

// Scores and their product with the values: q [..,T,E] over k [..,S,E].
double AttentionProduct(const Tensor& q, const Tensor& k) {
  return 4.0 * static_cast<double>(q.numel()) * static_cast<double>(k.size(-2));
}

double FlopsOf(std::string_view name, c10::ArrayRef<const c10::IValue> in) {
  if (name == "aten::convolution") return Convolution(in[1].toTensor(), in[0].toTensor().size(0), PlacesOf(in));
  if (name == "aten::convolution_backward") {  // (grad_output, input, weight, ..., output_mask)
    const Tensor& slope = in[0].toTensor();
    const auto wanted = in[in.size() - 1].toBoolList();
    const int gradients = (wanted.get(0) ? 1 : 0) + (wanted.get(1) ? 1 : 0);
    return gradients * Convolution(in[2].toTensor(), slope.size(0), slope.sizes().slice(2).vec());
  }
  if (name == "aten::mm" || name == "aten::bmm") return Product(in[0].toTensor(), in[1].toTensor());
  if (name == "aten::addmm" || name == "aten::baddbmm") return Product(in[1].toTensor(), in[2].toTensor());
  // The plain form of attention is matrix products, which are counted above.
  if (name.starts_with("aten::_scaled_dot_product_") && !name.ends_with("math")) {
    if (!name.ends_with("backward")) return AttentionProduct(in[0].toTensor(), in[1].toTensor());
    // (grad_output, query, key, ...): the scores once more, and both gradients of each of the two products.
    return 2.5 * AttentionProduct(in[1].toTensor(), in[2].toTensor());
  }
  return 0;
}

}  // namespace

double MatmulGflops(at::Device device, at::ScalarType compute) {
  using Clock = std::chrono::steady_clock;
  const int64_t n = device.is_cpu() ? 1024 : 8192;
  const auto options = at::TensorOptions().device(device).dtype(compute);
  const Tensor a = at::ones({n, n}, options), b = at::ones({n, n}, options);
  double best = 0;
  for (int i = 0; i < 8; ++i) {
    const auto start = Clock::now();
    const Tensor product = at::mm(a, b);
    (void)product[0][0].item();  // waits for the device
    best = std::max(
        best, 2.0 * static_cast<double>(n * n * n) / std::chrono::duration<double>(Clock::now() - start).count() / 1e9);
  }
  return best;
}

void AddFlops(double flops) { total += flops; }

double CountFlops(const std::function<void()>& work) {
  total = 0;
  const auto begin = [](const at::RecordFunction& call) -> std::unique_ptr<at::ObserverContext> {
    total += FlopsOf(call.name(), call.inputs());
    return nullptr;
  };
  const at::CallbackHandle handle =
      at::addGlobalCallback(at::RecordFunctionCallback(begin).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
  struct Remove {
    at::CallbackHandle handle;
    ~Remove() { at::removeCallback(handle); }
  } remove{handle};
  work();
  return total;
}

}  // namespace genview
