#include "genview/models/batch_norm.h"

#include <cmath>
#include <optional>

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "genview/models/batch_norm_kernels.h"
#include "genview/models/channel_sums.h"
#include "genview/tensor/op_profile.h"

namespace genview {
namespace {

Tensor LikePixels(const Tensor& x) { return at::empty_like(x, x.options(), at::MemoryFormat::ChannelsLast); }

// Calls work(first row, rows, task) for all parts of the N H W rows, on all threads.
template <class Work>
void ForEachPart(int64_t rows, Work&& work) {
  at::parallel_for(0, (rows + kTaskRows - 1) / kTaskRows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task)
      work(task * kTaskRows, std::min(kTaskRows, rows - task * kTaskRows), task);
  });
}

// Two sums per channel over all rows, [2*C]: see SumPart. Where a strip holds several rows, each has fp32 sums of its
// own.
template <class Add>
std::vector<double> ChannelSums(int64_t rows, int64_t channels, Add&& add) {
  const auto width = static_cast<size_t>(2 * channels);
  std::vector<double> parts(static_cast<size_t>((rows + kTaskRows - 1) / kTaskRows) * width, 0.0), sums(width, 0.0);
  ForEachPart(rows, [&](int64_t first, int64_t count, int64_t task) {
    SumPart(first, count, channels, parts.data() + static_cast<size_t>(task) * width, add,
            kFloatRows * norm_rows::RowsInStrip(channels));
  });
  for (size_t i = 0; i < parts.size(); ++i) sums[i % width] += parts[i];
  return sums;
}

// Of each channel: y = x * scale + shift, and the statistics that it comes from. Each [C] fp32.
struct Affine {
  Tensor scale, shift, mean, inverse;  // inverse = 1 / sqrt(var + eps)
  batch_norm::Line line() const { return {scale.const_data_ptr<float>(), shift.const_data_ptr<float>()}; }
};

// variance: of the batch or of the running statistics, [C].
Affine AffineOf(const BatchNormWeights& w, const Tensor& mean, const Tensor& variance, double eps) {
  const int64_t c = mean.size(0);
  const Affine a{at::empty({c}), at::empty({c}), mean, at::empty({c})};
  const float *m = DataOf<float>(mean), *v = DataOf<float>(variance), *weight = DataOf<float>(w.weight),
              *bias = DataOf<float>(w.bias);
  float *scale = MutableDataOf<float>(a.scale), *shift = MutableDataOf<float>(a.shift),
        *inverse = MutableDataOf<float>(a.inverse);
  for (int64_t i = 0; i < c; ++i) {
    inverse[i] = static_cast<float>(1 / std::sqrt(static_cast<double>(v[i]) + eps));
    scale[i] = weight[i] * inverse[i];
    shift[i] = bias[i] - m[i] * scale[i];
  }
  return a;
}

struct Moments {
  Tensor mean, variance;  // [C] fp32; the variance of the batch, divided by its rows
};

template <class T>
Moments MomentsOf(const Tensor& x) {
  const int64_t c = x.size(1), rows = x.numel() / c;
  const T* values = DataOf<T>(x);
  std::vector<float> center(static_cast<size_t>(c));  // the first pixel: sums of small numbers lose less
  for (int64_t i = 0; i < c; ++i) center[static_cast<size_t>(i)] = norm_rows::Load(values + i);
  const std::vector<double> sums = ChannelSums(rows, c, [&](int64_t first, int64_t count, float* sum, float* square) {
    batch_norm::AddMoments(values + first * c, count, c, center.data(), sum, square);
  });
  Moments m{at::empty({c}), at::empty({c})};
  const auto n = static_cast<double>(rows);
  for (int64_t i = 0; i < c; ++i) {
    const double away = sums[static_cast<size_t>(i)] / n, spread = sums[static_cast<size_t>(c + i)] / n - away * away;
    m.mean.mutable_data_ptr<float>()[i] = static_cast<float>(center[static_cast<size_t>(i)] + away);
    m.variance.mutable_data_ptr<float>()[i] = static_cast<float>(spread < 0 ? 0 : spread);  // NaN stays
  }
  return m;
}

// r <- (1 - m) r + m s, with the variance over rows - 1.
void UpdateRunning(const BatchNormWeights& w, const Moments& m, int64_t rows) {
  const double unbiased = static_cast<double>(rows) / static_cast<double>(std::max<int64_t>(1, rows - 1));
  const float *mean = DataOf<float>(m.mean), *variance = DataOf<float>(m.variance);
  float *running_mean = MutableDataOf<float>(w.running_mean), *running_variance = MutableDataOf<float>(w.running_var);
  for (int64_t i = 0; i < m.mean.size(0); ++i) {
    running_mean[i] = static_cast<float>((1 - kBatchNormMomentum) * running_mean[i] + kBatchNormMomentum * mean[i]);
    running_variance[i] = static_cast<float>((1 - kBatchNormMomentum) * running_variance[i] +
                                             kBatchNormMomentum * unbiased * variance[i]);
  }
  ++*w.num_batches_tracked.mutable_data_ptr<int64_t>();
}

template <class T>
Tensor ApplyTo(const Tensor& x, const Tensor& skip, const Affine& a, bool relu) {
  Tensor y = LikePixels(x);
  const int64_t c = x.size(1);
  const T *in = DataOf<T>(x), *more = DataOf<T>(skip);
  T* out = MutableDataOf<T>(y);
  ForEachPart(x.numel() / c, [&](int64_t first, int64_t rows, int64_t) {
    const int64_t at = first * c;
    batch_norm::Apply(in + at, more == nullptr ? nullptr : more + at, out + at, rows, c, a.line(), relu);
  });
  return y;
}

struct Forward {
  Tensor y;
  Affine affine;
};

Forward Compute(const BatchNormWeights& w, const Tensor& x, const Tensor& skip, bool training, double eps, bool relu) {
  const OpScope scope("genview::batch_norm");
  const c10::AutoGradMode no_grad(false);
  const bool single = x.scalar_type() == at::kFloat;
  Moments m{w.running_mean, w.running_var};
  if (training) {
    m = single ? MomentsOf<float>(x) : MomentsOf<Bf16>(x);
    UpdateRunning(w, m, x.numel() / x.size(1));
  }
  const Affine a = AffineOf(w, m.mean, m.variance, eps);
  return {single ? ApplyTo<float>(x, skip, a, relu) : ApplyTo<Bf16>(x, skip, a, relu), a};
}

struct Gradients {
  Tensor x, weight, bias;
};

// dy: behind the norm, or with `relu` behind the ReLU.
template <class T>
Gradients BackThrough(const Tensor& x, const Tensor& dy, const Affine& a, bool relu) {
  const int64_t c = x.size(1), rows = x.numel() / c;
  const T *in = DataOf<T>(x), *back = DataOf<T>(dy);
  const std::vector<double> sums = ChannelSums(rows, c, [&](int64_t first, int64_t count, float* sum, float* with_x) {
    batch_norm::AddGradients(in + first * c, back + first * c, count, c, a.line(), relu, a.mean.const_data_ptr<float>(),
                             sum, with_x);
  });
  // With d the gradient behind the norm and u = (x - mean) * inverse: dx = scale (d - mean of d - u * mean of d u).
  Gradients grad{LikePixels(x), at::empty({c}), at::empty({c})};
  std::vector<float> by_x(static_cast<size_t>(c)), constant(static_cast<size_t>(c));
  for (int64_t i = 0; i < c; ++i) {
    const double inverse = a.inverse.const_data_ptr<float>()[i], scale = a.scale.const_data_ptr<float>()[i],
                 mean = a.mean.const_data_ptr<float>()[i];
    const double sum = sums[static_cast<size_t>(i)], with_u = sums[static_cast<size_t>(c + i)] * inverse;
    grad.weight.mutable_data_ptr<float>()[i] = static_cast<float>(with_u);
    grad.bias.mutable_data_ptr<float>()[i] = static_cast<float>(sum);
    const double share = scale / static_cast<double>(rows);
    by_x[static_cast<size_t>(i)] = static_cast<float>(-share * inverse * with_u);
    constant[static_cast<size_t>(i)] = static_cast<float>(share * (mean * inverse * with_u - sum));
  }
  T* out = MutableDataOf<T>(grad.x);
  ForEachPart(rows, [&](int64_t first, int64_t count, int64_t) {
    batch_norm::BackThrough(in + first * c, back + first * c, out + first * c, count, c, a.line(), relu, by_x.data(),
                            constant.data());
  });
  return grad;
}

template <class T>
Tensor BackThroughRelu(const Tensor& y, const Tensor& dy) {
  Tensor d = LikePixels(y);
  const T *out = DataOf<T>(y), *back = DataOf<T>(dy);
  T* to = MutableDataOf<T>(d);
  at::parallel_for(0, y.numel(), 1 << 15, [&](int64_t begin, int64_t end) {
    batch_norm::BackThroughRelu(out + begin, back + begin, to + begin, end - begin);
  });
  return d;
}

// The statistics are of the batch. Without a skip a ReLU is gone back through by its input, which the norm keeps
// anyway; with one by its output, which the next layer keeps.
struct FusedFunction : torch::autograd::Function<FusedFunction> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& weight,
                        const Tensor& bias, const std::optional<Tensor>& maybe_skip, const BatchNormWeights& w,
                        double eps, bool relu) {
    const Tensor skip = maybe_skip.value_or(Tensor());
    const Forward f = Compute({weight, bias, w.running_mean, w.running_var, w.num_batches_tracked}, x, skip,
                              /*training=*/true, eps, relu);
    torch::autograd::variable_list saved{x, f.affine.scale, f.affine.shift, f.affine.mean, f.affine.inverse};
    if (skip.defined() && relu) saved.push_back(f.y);
    context->save_for_backward(std::move(saved));
    context->saved_data["relu"] = relu;
    context->saved_data["skip"] = skip.defined();
    return f.y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& outputs) {
    const auto saved = context->get_saved_variables();
    const Tensor& x = saved[0];
    const bool single = x.scalar_type() == at::kFloat, skip = context->saved_data["skip"].toBool();
    bool relu = context->saved_data["relu"].toBool();
    Tensor dy = outputs[0].to(x.scalar_type()).contiguous(at::MemoryFormat::ChannelsLast);
    if (relu && skip) {
      dy = single ? BackThroughRelu<float>(saved[5], dy) : BackThroughRelu<Bf16>(saved[5], dy);
      relu = false;
    }
    const Affine a{saved[1], saved[2], saved[3], saved[4]};
    const Gradients grad = single ? BackThrough<float>(x, dy, a, relu) : BackThrough<Bf16>(x, dy, a, relu);
    return {grad.x, grad.weight, grad.bias, skip ? dy : Tensor(), {}, {}, {}};
  }
};

bool Learns(const BatchNormWeights& w, const Tensor& x, const Tensor& skip) {
  return c10::GradMode::is_enabled() && (x.requires_grad() || w.weight.requires_grad() || w.bias.requires_grad() ||
                                         (skip.defined() && skip.requires_grad()));
}

bool CanFuse(const BatchNormWeights& w, const Tensor& x, const Tensor& skip) {
  const auto good = [&](const Tensor& t) {
    return t.is_cpu() && t.dim() == 4 && t.numel() > 0 && t.scalar_type() == x.scalar_type() &&
           t.is_contiguous(at::MemoryFormat::ChannelsLast);
  };
  const auto table = [](const Tensor& t) { return t.defined() && t.scalar_type() == at::kFloat && t.is_contiguous(); };
  return (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) && table(w.weight) && table(w.bias) &&
         table(w.running_mean) && table(w.running_var) && good(x) &&
         (!skip.defined() || (good(skip) && skip.sizes() == x.sizes()));
}

}  // namespace

Tensor BatchNormThen(AfterBatchNorm act, const BatchNormWeights& w, const Tensor& x, bool training,
                     const Tensor& skip) {
  constexpr double kEps = 1e-5;
  const bool relu = act == AfterBatchNorm::kRelu, learns = Learns(w, x, skip);
  if (!CanFuse(w, x, skip) || (learns && !training)) {
    Tensor y = BatchNorm(w, x, training, kEps);
    if (skip.defined()) y.add_(skip);
    return relu ? y.relu_() : y;
  }
  const auto maybe_skip = skip.defined() ? std::optional(skip) : std::nullopt;  // a function takes no undefined tensors
  return learns ? FusedFunction::apply(x, w.weight, w.bias, maybe_skip, w, kEps, relu)
                : Compute(w, x, skip, training, kEps, relu).y;
}

}  // namespace genview
