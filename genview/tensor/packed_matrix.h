// Weights of products in bf16, laid out once as the processor's matrix unit reads them (oneDNN's order in tiles). A
// product of ordinary weights lays them out anew at every call, which for few rows takes as long as the product.
//
//   if (PackingPays(device, at::kBFloat16)) weight = PackMatrix(weight);
//   y = weight.is_mkldnn() ? PackedLinear(x, weight, bias) : at::linear(x, weight, bias);
#pragma once

#include "genview/tensor/tensor.h"

namespace genview {

// bf16 on processors with AMX, where LibTorch has oneDNN.
bool PackingPays(at::Device device, at::ScalarType compute);

// weight [O,K] bf16 -> the same numbers with the same sizes and type, for PackedLinear alone: there is no way to its
// memory, and is_mkldnn() is true.
Tensor PackMatrix(const Tensor& weight);

// What follows a product before it is rounded.
enum class AfterProduct { kNothing, kGelu, kGeluTanh };

// x [...,K] of any floating type, rounded to bf16; bias [O] or undefined -> [...,O] bf16. Added up in fp32.
Tensor PackedLinear(const Tensor& x, const Tensor& packed, const Tensor& bias,
                    AfterProduct after = AfterProduct::kNothing);

}  // namespace genview
