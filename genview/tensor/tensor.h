// The edge to LibTorch. Everything above says `Tensor` and calls plain at:: functions on it.
#pragma once

#include <ATen/ATen.h>

#include <initializer_list>
#include <string_view>

#include "genview/base/random.h"

namespace genview {

using at::Tensor;

// Throws std::logic_error naming `name`, the shape wanted (-1 = any) and the one found. For the doors of public
// functions.
void ExpectShape(const Tensor& tensor, std::initializer_list<int64_t> shape, std::string_view name);

// The numbers of a contiguous tensor as a type of ours that LibTorch does not know (Bf16); null where there is no
// tensor.
template <class T>
const T* DataOf(const Tensor& tensor) {
  return tensor.defined() ? static_cast<const T*>(tensor.const_data_ptr()) : nullptr;
}
template <class T>
T* MutableDataOf(const Tensor& tensor) {
  return tensor.defined() ? static_cast<T*>(tensor.mutable_data_ptr()) : nullptr;
}

// N(0, 1) in fp32 on the CPU; element i depends on (seed, i) alone.
Tensor NormalTensor(Seed seed, at::IntArrayRef shape);
// Uniform in [low, high), likewise.
Tensor UniformTensor(Seed seed, at::IntArrayRef shape, double low, double high);

}  // namespace genview
