// Layers as plain functions over weights structs, shared by two models or more.
#pragma once

#include <optional>
#include <string_view>

#include "genview/models/weight_list.h"

namespace genview {

enum class Activation { kGelu, kQuickGelu, kGeluTanh, kSilu, kRelu };
// Names of transformers, of which some mean the same.
std::optional<Activation> ActivationOfName(std::string_view name);  // nothing: there is none here
const char* ActivationName(Activation kind);                        // "gelu_pytorch_tanh"

// Weights of products and convolutions may be kept in fp16 or bf16 where the arithmetic is wider: they are widened
// layer by layer, to the same numbers, so that a network takes half the memory.
Tensor AsWideAs(const Tensor& x, const Tensor& weight);
Tensor Linear(const LinearWeights& w, const Tensor& x);  // [...,in] -> [...,out]
Tensor Conv(const ConvWeights& w, const Tensor& x, int64_t stride = 1, int64_t padding = 0, int64_t groups = 1);
Tensor LayerNorm(const NormWeights& w, const Tensor& x, double eps);                  // over the last extent
Tensor GroupNorm(const NormWeights& w, const Tensor& x, int64_t groups, double eps);  // [N,C,...]
// Training: statistics of the batch, running ones updated in place: r <- (1 - m) r + m s. Otherwise the running ones.
inline constexpr double kBatchNormMomentum = 0.1;  // m
Tensor BatchNorm(const BatchNormWeights& w, const Tensor& x, bool training, double eps = 1e-5);
Tensor Activate(Activation kind, const Tensor& x);
Tensor LinearThen(Activation kind, const LinearWeights& w, const Tensor& x);  // in one pass where it can be

// Multi-head attention of q [N,Tq,C] over k, v [N,Tk,C], softmax scale 1/sqrt(C/heads). -> [N,Tq,C].
// With gradients on the CPU plain matrix products are used: the fused kernel's backward takes more than twice as long.
Tensor Attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, bool causal = false);

// One pre-norm transformer block. Models name its tensors as their files do.
struct EncoderBlock {
  NormWeights norm1, norm2;   // each [C], [C]
  LinearWeights qkv, proj;    // [3C,C] [3C] (rows q, k, v) and [C,C] [C]
  LinearWeights fc1, fc2;     // [M,C] [M] and [C,M] [C]
  Tensor scale1{}, scale2{};  // [C] on what attention and perceptron add (layer scale); undefined: 1
};
struct EncoderBlockOptions {
  int64_t heads = 1;
  Activation activation = Activation::kGelu;
  double eps = 1e-5;        // of both norms
  bool causal = false;      // a token sees itself and those before it
  Tensor keep1{}, keep2{};  // [N,1,1] factors on what attention and perceptron add (drop path); undefined: 1
};
EncoderBlock MakeEncoderBlock(int64_t width, int64_t mlp_width, bool qkv_bias = true);
Tensor ForwardEncoderBlock(const EncoderBlock& w, const EncoderBlockOptions& o, Tensor x);  // [N,T,C] -> [N,T,C]

}  // namespace genview
