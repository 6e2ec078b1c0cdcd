#include "genview/tensor/tensor.h"

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {

void ExpectShape(const Tensor& tensor, std::initializer_list<int64_t> shape, std::string_view name) {
  const at::IntArrayRef wanted(shape.begin(), shape.size());
  bool same = tensor.defined() && tensor.dim() == static_cast<int64_t>(shape.size());
  for (size_t i = 0; same && i < wanted.size(); ++i)
    same = wanted[i] < 0 || wanted[i] == tensor.size(static_cast<int64_t>(i));
  if (same) return;
  throw std::logic_error(Format("{} has shape [{}], wanted is [{}]", name,
                                tensor.defined() ? Format("{}", fmt::join(tensor.sizes(), ",")) : "undefined",
                                fmt::join(wanted, ",")));
}

Tensor NormalTensor(Seed seed, at::IntArrayRef shape) {
  Tensor result = at::empty(shape, at::kFloat);
  FillNormal(seed, {result.data_ptr<float>(), static_cast<size_t>(result.numel())});
  return result;
}

Tensor UniformTensor(Seed seed, at::IntArrayRef shape, double low, double high) {
  Tensor result = at::empty(shape, at::kFloat);
  Random random(seed);
  float* values = result.data_ptr<float>();
  for (int64_t i = 0; i < result.numel(); ++i) values[i] = static_cast<float>(random.Uniform(low, high));
  return result;
}

}  // namespace genview
