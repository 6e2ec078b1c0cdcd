#include "genview/models/blocks.h"

#include <cmath>

#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>

namespace genview {

Tensor AsWideAs(const Tensor& x, const Tensor& weight) {
  const bool narrower = at::elementSize(weight.scalar_type()) < at::elementSize(x.scalar_type());
  return narrower && !at::autocast::is_autocast_enabled(x.device().type()) ? weight.to(x.scalar_type()) : weight;
}

Tensor Linear(const LinearWeights& w, const Tensor& x) { return at::linear(x, AsWideAs(x, w.weight), w.bias); }

Tensor Conv(const ConvWeights& w, const Tensor& x, int64_t stride, int64_t padding, int64_t groups) {
  return at::conv2d(x, AsWideAs(x, w.weight), w.bias, {stride, stride}, {padding, padding}, {1, 1}, groups);
}

Tensor LayerNorm(const NormWeights& w, const Tensor& x, double eps) {
  return at::layer_norm(x, {x.size(-1)}, w.weight, w.bias, eps);
}

Tensor GroupNorm(const NormWeights& w, const Tensor& x, int64_t groups, double eps) {
  return at::group_norm(x, groups, w.weight, w.bias, eps);
}

Tensor BatchNorm(const BatchNormWeights& w, const Tensor& x, bool training, double eps) {
  if (training) {
    const c10::AutoGradMode no_grad(false);
    Tensor count = w.num_batches_tracked;  // a handle on the same memory
    count.add_(1);
  }
  return at::batch_norm(x, w.weight, w.bias, w.running_mean, w.running_var, training, kBatchNormMomentum, eps,
                        /*cudnn_enabled=*/true);
}

Tensor Activate(Activation kind, const Tensor& x) {
  switch (kind) {
    case Activation::kGelu: return at::gelu(x);
    case Activation::kQuickGelu: return x * at::sigmoid(1.702 * x);
    case Activation::kGeluTanh: return at::gelu(x, "tanh");
    case Activation::kSilu: return at::silu(x);
    case Activation::kRelu: return at::relu(x);
  }
  return x;
}

Tensor Attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, bool causal) {
  const int64_t n = q.size(0), c = q.size(2), d = c / heads;
  const auto split = [&](const Tensor& x) { return x.view({n, x.size(1), heads, d}).transpose(1, 2); };  // [N,h,T,d]
  const Tensor qh = split(q), kh = split(k), vh = split(v);
  Tensor out;
  if (q.is_cpu() && c10::GradMode::is_enabled() && (q.requires_grad() || k.requires_grad() || v.requires_grad())) {
    Tensor scores = at::matmul(qh * (1 / std::sqrt(static_cast<double>(d))), kh.transpose(2, 3));  // [N,h,Tq,Tk]
    if (causal) {
      const Tensor mask = at::ones({q.size(1), k.size(1)}, q.options().dtype(at::kBool)).triu(1);
      scores = scores.masked_fill(mask, -INFINITY);
    }
    out = at::matmul(at::softmax(scores, -1), vh);
  } else {
    out = at::scaled_dot_product_attention(qh, kh, vh, {}, 0.0, causal);
  }
  return out.transpose(1, 2).reshape({n, q.size(1), c});
}

EncoderBlock MakeEncoderBlock(int64_t width, int64_t mlp_width, bool qkv_bias) {
  return {.norm1 = MakeNorm(width),
          .norm2 = MakeNorm(width),
          .qkv = MakeLinear(width, 3 * width, qkv_bias),
          .proj = MakeLinear(width, width),
          .fc1 = MakeLinear(width, mlp_width),
          .fc2 = MakeLinear(mlp_width, width)};
}

Tensor ForwardEncoderBlock(const EncoderBlock& w, const EncoderBlockOptions& o, Tensor x) {
  const auto qkv = Linear(w.qkv, LayerNorm(w.norm1, x, o.eps)).chunk(3, -1);  // 3 x [N,T,C]
  const auto kept = [](const Tensor& branch, const Tensor& factors) { return factors.defined() ? branch * factors.to(branch.scalar_type()) : branch; };
  x = x + kept(Linear(w.proj, Attention(qkv[0], qkv[1], qkv[2], o.heads, o.causal)), o.keep1);
  return x + kept(Linear(w.fc2, Activate(o.activation, Linear(w.fc1, LayerNorm(w.norm2, x, o.eps)))), o.keep2);
}

}  // namespace genview
