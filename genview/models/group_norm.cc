#include "genview/models/group_norm.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "genview/models/channel_sums.h"
#include "genview/models/group_norm_kernels.h"
#include "genview/tensor/op_profile.h"

namespace genview {
namespace {

struct Extents {
  int64_t n, pixels, channels, groups;
  explicit Extents(const Tensor& x, int64_t g)
      : n(x.size(0)), pixels(x.size(2) * x.size(3)), channels(x.size(1)), groups(g) {}
  int64_t tasks() const { return (pixels + kTaskRows - 1) / kTaskRows; }  // per row of the batch
  int64_t group_size() const { return channels / groups; }
};

float AsFloat(float v) { return v; }
float AsFloat(Bf16 v) { return std::bit_cast<float>(static_cast<uint32_t>(v.bits) << 16); }

// Calls work(row of the batch, first pixel, pixels) for all parts of the batch, on all threads.
template <class Work>
void ForEachPart(const Extents& e, Work&& work) {
  at::parallel_for(0, e.n * e.tasks(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task % e.tasks() * kTaskRows;
      work(task, task / e.tasks(), first, std::min(kTaskRows, e.pixels - first));
    }
  });
}

// Adds the sums of all parts of row n, in their order.
void Gather(const Extents& e, const std::vector<double>& parts, int64_t n, std::vector<double>& sums) {
  std::fill(sums.begin(), sums.end(), 0.0);
  for (int64_t task = 0; task < e.tasks(); ++task) {
    const double* part = parts.data() + (n * e.tasks() + task) * 2 * e.channels;
    for (int64_t i = 0; i < 2 * e.channels; ++i) sums[static_cast<size_t>(i)] += part[i];
  }
}

struct Statistics {
  Tensor mean, inverse;  // [N,G] fp32, inverse = 1 / sqrt(var + eps)
};

template <class T>
Statistics MomentsOf(const Tensor& x, const Extents& e, double eps) {
  std::vector<float> shift(static_cast<size_t>(e.n * e.channels));  // the first pixel: sums of small numbers lose less
  for (int64_t n = 0; n < e.n; ++n) {
    const T* pixel = DataOf<T>(x) + n * e.pixels * e.channels;
    for (int64_t i = 0; i < e.channels; ++i) shift[static_cast<size_t>(n * e.channels + i)] = AsFloat(pixel[i]);
  }
  std::vector<double> parts(static_cast<size_t>(e.n * e.tasks() * 2 * e.channels), 0.0);
  ForEachPart(e, [&](int64_t task, int64_t n, int64_t first, int64_t pixels) {
    SumPart(first, pixels, e.channels, parts.data() + task * 2 * e.channels,
            [&](int64_t at, int64_t rows, float* sum, float* square) {
              group_norm::AddMoments(DataOf<T>(x) + (n * e.pixels + at) * e.channels, rows, e.channels,
                                     shift.data() + n * e.channels, sum, square);
            });
  });
  Statistics s{at::empty({e.n, e.groups}, at::kFloat), at::empty({e.n, e.groups}, at::kFloat)};
  float *means = s.mean.mutable_data_ptr<float>(), *inverses = s.inverse.mutable_data_ptr<float>();
  std::vector<double> sums(static_cast<size_t>(2 * e.channels)), mean_of(static_cast<size_t>(e.channels));
  const auto pixels = static_cast<double>(e.pixels), size = static_cast<double>(e.group_size());
  for (int64_t n = 0; n < e.n; ++n) {
    Gather(e, parts, n, sums);
    const float* from = shift.data() + n * e.channels;
    for (int64_t i = 0; i < e.channels; ++i)
      mean_of[static_cast<size_t>(i)] = static_cast<double>(from[i]) + sums[static_cast<size_t>(i)] / pixels;
    for (int64_t g = 0; g < e.groups; ++g) {
      const int64_t begin = g * e.group_size(), end = begin + e.group_size();
      double mean = 0, spread = 0;
      for (int64_t i = begin; i < end; ++i) mean += mean_of[static_cast<size_t>(i)];
      mean /= size;
      for (int64_t i = begin; i < end; ++i) {
        const double sum = sums[static_cast<size_t>(i)], square = sums[static_cast<size_t>(e.channels + i)],
                     away = mean_of[static_cast<size_t>(i)] - mean;
        spread += square - sum * sum / pixels + pixels * away * away;
      }
      means[n * e.groups + g] = static_cast<float>(mean);
      // A NaN anywhere in the group is a NaN here: max(0, NaN) is 0, so it is put back.
      inverses[n * e.groups + g] = static_cast<float>(
          std::isnan(spread) ? spread : 1 / std::sqrt(std::max(0.0, spread / (pixels * size)) + eps));
    }
  }
  return s;
}

// Of every row and channel: y = x * scale + shift.
struct Affine {
  std::vector<float> scale, shift, mean;
};

Affine AffineOf(const Statistics& s, const Extents& e, const Tensor& weight, const Tensor& bias) {
  const Tensor w = weight.to(at::kFloat), b = bias.to(at::kFloat);
  const float *weights = w.const_data_ptr<float>(), *biases = b.const_data_ptr<float>();
  const float *means = s.mean.const_data_ptr<float>(), *inverses = s.inverse.const_data_ptr<float>();
  const auto values = static_cast<size_t>(e.n * e.channels);
  Affine a{std::vector<float>(values), std::vector<float>(values), std::vector<float>(values)};
  for (int64_t n = 0, at = 0; n < e.n; ++n) {
    for (int64_t g = 0, i = 0; g < e.groups; ++g) {
      const float mean = means[n * e.groups + g], inverse = inverses[n * e.groups + g];
      for (const int64_t end = i + e.group_size(); i < end; ++i, ++at) {
        const float scale = inverse * weights[i];
        a.scale[static_cast<size_t>(at)] = scale;
        a.shift[static_cast<size_t>(at)] = biases[i] - mean * scale;
        a.mean[static_cast<size_t>(at)] = mean;
      }
    }
  }
  return a;
}

template <class T>
Tensor ApplyTo(const Tensor& x, const Tensor& y, const Extents& e, const Affine& a, bool silu) {
  ForEachPart(e, [&](int64_t, int64_t n, int64_t first, int64_t pixels) {
    const int64_t at = (n * e.pixels + first) * e.channels;
    group_norm::Apply(DataOf<T>(x) + at, MutableDataOf<T>(y) + at, pixels, e.channels, a.scale.data() + n * e.channels,
                      a.shift.data() + n * e.channels, silu);
  });
  return y;
}

struct Gradients {
  Tensor x, weight, bias;
};

template <class T>
Gradients BackThrough(const Tensor& x, const Tensor& dy, const Statistics& s, const Extents& e, const Tensor& weight,
                      const Tensor& bias, bool silu) {
  const Affine a = AffineOf(s, e, weight, bias);
  Gradients grad{at::empty_like(x, x.options(), at::MemoryFormat::ChannelsLast), at::zeros({e.channels}, at::kDouble),
                 at::zeros({e.channels}, at::kDouble)};
  std::vector<double> parts(static_cast<size_t>(e.n * e.tasks() * 2 * e.channels), 0.0);
  ForEachPart(e, [&](int64_t task, int64_t n, int64_t first, int64_t pixels) {
    SumPart(first, pixels, e.channels, parts.data() + task * 2 * e.channels,
            [&](int64_t from, int64_t rows, float* sum, float* with_x) {
              const int64_t at = (n * e.pixels + from) * e.channels, c = n * e.channels;
              group_norm::BackThroughAct(DataOf<T>(x) + at, DataOf<T>(dy) + at, MutableDataOf<T>(grad.x) + at, rows,
                                         e.channels, a.scale.data() + c, a.shift.data() + c, a.mean.data() + c, silu,
                                         sum, with_x);
            });
  });
  // With dz the gradient behind the norm and u = (x - mean) * inverse:
  //   dx = scale dz - inverse / M (sum of weight dz + u * sum of weight dz u), sums over the group's M values.
  std::vector<float> by_x(a.scale.size()), constant(a.scale.size());
  std::vector<double> sums(static_cast<size_t>(2 * e.channels));
  const Tensor w = weight.to(at::kFloat);
  const auto values = static_cast<double>(e.pixels * e.group_size());
  for (int64_t n = 0; n < e.n; ++n) {
    Gather(e, parts, n, sums);
    for (int64_t g = 0; g < e.groups; ++g) {
      const double mean = s.mean.const_data_ptr<float>()[n * e.groups + g],
                   inverse = s.inverse.const_data_ptr<float>()[n * e.groups + g];
      const int64_t begin = g * e.group_size(), end = begin + e.group_size();
      double plain = 0, with_u = 0;
      for (int64_t i = begin; i < end; ++i) {
        const double dz = sums[static_cast<size_t>(i)], dz_u = sums[static_cast<size_t>(e.channels + i)] * inverse,
                     gamma = w.const_data_ptr<float>()[i];
        plain += gamma * dz;
        with_u += gamma * dz_u;
        grad.weight.mutable_data_ptr<double>()[i] += dz_u;
        grad.bias.mutable_data_ptr<double>()[i] += dz;
      }
      for (int64_t i = begin; i < end; ++i) {
        by_x[static_cast<size_t>(n * e.channels + i)] = static_cast<float>(-inverse * inverse * with_u / values);
        constant[static_cast<size_t>(n * e.channels + i)] =
            static_cast<float>(inverse / values * (mean * inverse * with_u - plain));
      }
    }
  }
  ForEachPart(e, [&](int64_t, int64_t n, int64_t first, int64_t pixels) {
    const int64_t at = (n * e.pixels + first) * e.channels, c = n * e.channels;
    group_norm::BackThroughNorm(DataOf<T>(x) + at, MutableDataOf<T>(grad.x) + at, pixels, e.channels,
                                a.scale.data() + c, by_x.data() + c, constant.data() + c);
  });
  grad.weight = grad.weight.to(weight.scalar_type());
  grad.bias = grad.bias.to(bias.scalar_type());
  return grad;
}

struct Forward {
  Tensor y;
  Statistics statistics;
};

// y: where it goes, x itself for example.
Forward Compute(const Tensor& x, const Tensor& y, const Tensor& weight, const Tensor& bias, int64_t groups, double eps,
                bool silu) {
  const OpScope scope("genview::group_norm");
  const Extents e(x, groups);
  const bool single = x.scalar_type() == at::kFloat;
  Statistics s = single ? MomentsOf<float>(x, e, eps) : MomentsOf<Bf16>(x, e, eps);
  const Affine a = AffineOf(s, e, weight, bias);
  return {single ? ApplyTo<float>(x, y, e, a, silu) : ApplyTo<Bf16>(x, y, e, a, silu), std::move(s)};
}

Tensor EmptyLike(const Tensor& x) { return at::empty_like(x, x.options(), at::MemoryFormat::ChannelsLast); }

struct FusedFunction : torch::autograd::Function<FusedFunction> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& weight,
                        const Tensor& bias, int64_t groups, double eps, bool silu) {
    Forward f = Compute(x, EmptyLike(x), weight, bias, groups, eps, silu);
    context->save_for_backward({x, weight, bias, f.statistics.mean, f.statistics.inverse});
    context->saved_data["groups"] = groups;
    context->saved_data["silu"] = silu;
    return f.y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& outputs) {
    const auto saved = context->get_saved_variables();
    const Tensor& x = saved[0];
    const Extents e(x, context->saved_data["groups"].toInt());
    const bool silu = context->saved_data["silu"].toBool();
    const Tensor dy = outputs[0].to(x.scalar_type()).contiguous(at::MemoryFormat::ChannelsLast);
    const Statistics s{saved[3], saved[4]};
    Gradients grad = x.scalar_type() == at::kFloat ? BackThrough<float>(x, dy, s, e, saved[1], saved[2], silu)
                                                   : BackThrough<Bf16>(x, dy, s, e, saved[1], saved[2], silu);
    return {grad.x, grad.weight, grad.bias, {}, {}, {}};
  }
};

bool CanFuse(const NormWeights& w, const Tensor& x) {
  return x.is_cpu() && x.dim() == 4 && x.numel() > 0 &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) && w.weight.defined() &&
         x.is_contiguous(at::MemoryFormat::ChannelsLast);
}

}  // namespace

Tensor GroupNormThen(AfterNorm act, const NormWeights& w, Tensor x, int64_t groups, double eps) {
  const bool silu = act == AfterNorm::kSilu;
  if (!CanFuse(w, x)) {
    const Tensor y = GroupNorm(w, x, groups, eps);
    return silu ? at::silu(y) : y;
  }
  const bool learns =
      c10::GradMode::is_enabled() && (x.requires_grad() || w.weight.requires_grad() || w.bias.requires_grad());
  if (learns) return FusedFunction::apply(x, w.weight, w.bias, groups, eps, silu);
  const bool own = !c10::GradMode::is_enabled() && x.use_count() == 1 && x.storage().use_count() == 1;
  return Compute(x, own ? x : EmptyLike(x), w.weight, w.bias, groups, eps, silu).y;
}

}  // namespace genview
