#include "genview/models/blocks.h"

#include <algorithm>
#include <cmath>

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include "genview/tensor/packed_matrix.h"
#include "genview/tensor/split_products.h"

namespace genview {

// Autocast brings both to its own type.
static bool Widens(const Tensor& x, const Tensor& weight) {
  return at::elementSize(weight.scalar_type()) < at::elementSize(x.scalar_type()) &&
         !at::autocast::is_autocast_enabled(x.device().type());
}

Tensor AsWideAs(const Tensor& x, const Tensor& weight) {
  return Widens(x, weight) ? weight.to(x.scalar_type()) : weight;
}

namespace {

// x [R,K] times weight [O,K] in 16 bits, `outs` rows of the weight at a time: they are widened in the cache, each
// thread its own.
Tensor WideningProduct(const Tensor& x, const Tensor& weight, const Tensor& bias, int64_t outs) {
  const int64_t all = weight.size(0);
  const Tensor y = at::empty({x.size(0), all}, x.options());
  at::parallel_for(0, (all + outs - 1) / outs, 1, [&](int64_t begin, int64_t end) {
    const c10::InferenceMode guard;
    for (int64_t first = begin * outs; first < std::min(all, end * outs); first += outs) {
      const int64_t count = std::min(outs, all - first);
      const Tensor wide = weight.narrow(0, first, count).to(x.scalar_type()).t();
      Tensor to = y.narrow(1, first, count);
      if (bias.defined()) at::addmm_out(to, bias.narrow(0, first, count), x, wide);
      else at::mm_out(to, x, wide);
    }
  });
  return y;
}

// How many: as many as stay in the cache, or as are worth going through x for; in equal parts for two or four threads.
int64_t OutsAtOnce(const Tensor& weight, int64_t x_rows) {
  constexpr int64_t kCached = int64_t{4} << 20;
  const int64_t all = weight.size(0),
                wanted =
                    std::max<int64_t>({16, kCached / static_cast<int64_t>(weight.size(1) * sizeof(float)), x_rows / 2});
  if (wanted >= all) return all;
  const int64_t parts = 4 * std::max<int64_t>(1, all / (4 * wanted));
  return (all + parts - 1) / parts;
}

}  // namespace

Tensor Linear(const LinearWeights& w, const Tensor& x) {
  if (w.weight.is_mkldnn()) return PackedLinear(x, w.weight, w.bias);
  if (const int64_t width = x.size(-1);
      SplitProductsPay(x, x.numel() / std::max<int64_t>(1, width), w.weight.size(0), width)) {
    std::vector<int64_t> shape = x.sizes().vec();
    shape.back() = w.weight.size(0);
    return SplitLinear(x.reshape({-1, width}), w.weight, w.bias).view(shape);
  }
  if (!Widens(x, w.weight)) return at::linear(x, w.weight, w.bias);
  const int64_t all = w.weight.size(0), outs = OutsAtOnce(w.weight, x.numel() / x.size(-1));
  if (outs == all || !x.is_cpu() || c10::GradMode::is_enabled()) return at::linear(x, AsWideAs(x, w.weight), w.bias);
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = all;
  return WideningProduct(x.reshape({-1, x.size(-1)}), w.weight, w.bias, outs).view(shape);
}

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

// The first name of each is the one that is written.
constexpr std::pair<const char*, Activation> kActivationNames[] = {{"gelu", Activation::kGelu},
                                                                   {"gelu_python", Activation::kGelu},
                                                                   {"quick_gelu", Activation::kQuickGelu},
                                                                   {"gelu_pytorch_tanh", Activation::kGeluTanh},
                                                                   {"gelu_new", Activation::kGeluTanh},
                                                                   {"gelu_fast", Activation::kGeluTanh},
                                                                   {"gelu_accurate", Activation::kGeluTanh},
                                                                   {"gelu_python_tanh", Activation::kGeluTanh},
                                                                   {"silu", Activation::kSilu},
                                                                   {"swish", Activation::kSilu},
                                                                   {"relu", Activation::kRelu}};

std::optional<Activation> ActivationOfName(std::string_view name) {
  for (const auto& [known, kind] : kActivationNames) {
    if (name == known) return kind;
  }
  return std::nullopt;
}

const char* ActivationName(Activation kind) {
  return std::find_if(std::begin(kActivationNames), std::end(kActivationNames),
                      [&](const auto& known) { return known.second == kind; })
      ->first;
}

Tensor Activate(Activation kind, const Tensor& x) {
  switch (kind) {
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kQuickGelu:
      return x * at::sigmoid(1.702 * x);
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Activation::kSilu:
      return at::silu(x);
    case Activation::kRelu:
      return at::relu(x);
  }
  return x;
}

Tensor LinearThen(Activation kind, const LinearWeights& w, const Tensor& x) {
  if (w.weight.is_mkldnn() && (kind == Activation::kGelu || kind == Activation::kGeluTanh)) {
    return PackedLinear(x, w.weight, w.bias, kind == Activation::kGelu ? AfterProduct::kGelu : AfterProduct::kGeluTanh);
  }
  Tensor y = Linear(w, x);
  return kind == Activation::kGelu && !c10::GradMode::is_enabled() ? at::gelu_(y) : Activate(kind, y);
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

// What is inside a block belongs to it alone: without gradients sums stay where they are.
Tensor ForwardEncoderBlock(const EncoderBlock& w, const EncoderBlockOptions& o, Tensor x) {
  const bool in_place = !c10::GradMode::is_enabled();
  const auto times = [](const Tensor& branch, const Tensor& factors) {
    return factors.defined() ? branch * factors.to(branch.scalar_type()) : branch;
  };
  const auto plus = [&](Tensor branch) {
    return in_place && branch.scalar_type() == x.scalar_type() ? branch.add_(x) : x + branch;
  };
  const auto attended = [&] {
    const auto qkv = Linear(w.qkv, LayerNorm(w.norm1, x, o.eps)).chunk(3, -1);  // 3 x [N,T,C]
    return Attention(qkv[0], qkv[1], qkv[2], o.heads, o.causal);
  };
  x = plus(times(times(Linear(w.proj, attended()), w.scale1), o.keep1));
  const Tensor hidden = LinearThen(o.activation, w.fc1, LayerNorm(w.norm2, x, o.eps));  // [N,T,M]
  return plus(times(times(Linear(w.fc2, hidden), w.scale2), o.keep2));
}

}  // namespace genview
