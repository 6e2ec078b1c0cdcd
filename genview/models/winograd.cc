#include "genview/models/winograd.h"

#include <algorithm>

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include "genview/models/winograd_kernels.h"
#include "genview/tensor/flop_count.h"
#include "genview/tensor/op_profile.h"
#include "genview/tensor/split_products.h"

namespace genview {
namespace {

using winograd::kIn, winograd::kLanes, winograd::kNumbers, winograd::kOut;

constexpr int64_t kTaskTiles = 128;    // enough rows for the products to run at speed
constexpr int64_t kFewestTiles = 256;  // below, the taps' way there takes longer than the products it saves
constexpr int64_t kFilterBytes = int64_t{16} << 20;  // of transformed taps at a time

struct Tiling {
  int64_t n, height, width, channels, enlarge;  // of the result; channels of the input
  int64_t rows() const { return (height + kOut - 1) / kOut; }
  int64_t columns() const { return (width + kOut - 1) / kOut; }
  int64_t tiles() const { return n * rows() * columns(); }
};

Tiling TilingOf(const Tensor& x, int64_t enlarge) {
  return {x.size(0), x.size(2) * enlarge, x.size(3) * enlarge, x.size(1), enlarge};
}

// The tile's first pixel in the result.
struct Corner {
  int64_t n, y, x;
};
Corner CornerOf(const Tiling& t, int64_t tile) {
  return {tile / (t.rows() * t.columns()), tile / t.columns() % t.rows() * kOut, tile % t.columns() * kOut};
}

// [16,O,C] of taps [O,C,3,3], as split_products.h multiplies them or in fp32.
struct Taps {
  Tensor numbers;       // fp32, or
  Tensor upper, lower;  // bf16
};

Taps TransformedTaps(const Tensor& taps, bool split) {
  const int64_t outs = taps.size(0), channels = taps.size(1);
  Taps result{at::empty({split ? 0 : kNumbers, outs, channels}, at::kFloat),
              at::empty({split ? kNumbers : 0, outs, channels}, at::kBFloat16),
              {}};
  result.lower = at::empty_like(result.upper);
  at::parallel_for(0, outs, 8, [&](int64_t begin, int64_t end) {
    const c10::InferenceMode guard;
    const Tensor buffer = at::empty({split ? kNumbers * channels : 0}, at::kFloat);
    for (int64_t o = begin; o < end; ++o) {
      const Tensor one = taps.narrow(0, o, 1).to(at::kFloat).contiguous(at::MemoryFormat::ChannelsLast);
      float* out = split ? buffer.mutable_data_ptr<float>() : result.numbers.mutable_data_ptr<float>() + o * channels;
      winograd::TransformTaps(one.const_data_ptr<float>(), channels, out, split ? channels : outs * channels);
      for (int64_t k = 0; split && k < kNumbers; ++k) {
        const int64_t at = (k * outs + o) * channels;
        SplitValues(out + k * channels, channels, MutableDataOf<Bf16>(result.upper) + at,
                    MutableDataOf<Bf16>(result.lower) + at);
      }
    }
  });
  return result;
}

// Tiles first .. first + count - 1 of x -> [16,count,C] at `out`.
void TransformTiles(const Tiling& t, const float* x, int64_t first, int64_t count, const float* zeros, float* out) {
  const int64_t h = t.height / t.enlarge, w = t.width / t.enlarge;
  for (int64_t i = 0; i < count; ++i) {
    const Corner corner = CornerOf(t, first + i);
    const float* pixels[kNumbers];
    for (int64_t k = 0; k < kNumbers; ++k) {
      const int64_t py = corner.y + k / kIn - 1, px = corner.x + k % kIn - 1;
      const bool inside = py >= 0 && py < t.height && px >= 0 && px < t.width;
      pixels[k] = inside ? x + ((corner.n * h + py / t.enlarge) * w + px / t.enlarge) * t.channels : zeros;
    }
    winograd::TransformPixels(pixels, t.channels, out + i * t.channels, count * t.channels);
  }
}

// Products [16,count,outs] of these tiles -> channels first_out .. of y [N,H,W,O].
void TransformTilesBack(const Tiling& t, const float* products, int64_t first, int64_t count, const float* bias,
                        int64_t outs, float* y, int64_t all_outs) {
  for (int64_t i = 0; i < count; ++i) {
    const Corner corner = CornerOf(t, first + i);
    float* pixels[kOut * kOut];
    for (int64_t k = 0; k < kOut * kOut; ++k) {
      const int64_t py = corner.y + k / kOut, px = corner.x + k % kOut;
      pixels[k] = py < t.height && px < t.width ? y + ((corner.n * t.height + py) * t.width + px) * all_outs : nullptr;
    }
    winograd::TransformBack(products + i * outs, count * outs, bias, outs, pixels);
  }
}

// numbers [16,count,C] times taps -> products [16,count,O]
class Multiplier {
 public:
  Multiplier(const Taps& taps, int64_t channels, int64_t outs) : taps_(taps), channels_(channels), outs_(outs) {
    if (taps.upper.numel() == 0) return;
    upper_ = at::empty({kNumbers * kTaskTiles * channels}, at::kBFloat16);
    lower_ = at::empty_like(upper_);
  }

  void operator()(const Tensor& numbers, Tensor& products) const {
    const int64_t count = numbers.size(1), plane = count * channels_;
    if (!upper_.defined()) {
      at::bmm_out(products, numbers, taps_.numbers.transpose(1, 2));
      return;
    }
    SplitValues(numbers.const_data_ptr<float>(), numbers.numel(), MutableDataOf<Bf16>(upper_),
                MutableDataOf<Bf16>(lower_));
    for (int64_t k = 0; k < kNumbers; ++k) {
      const int64_t at = k * outs_ * channels_;
      SplitProduct({DataOf<Bf16>(upper_) + k * plane, DataOf<Bf16>(lower_) + k * plane}, count,
                   {DataOf<Bf16>(taps_.upper) + at, DataOf<Bf16>(taps_.lower) + at}, outs_, channels_, /*add=*/false,
                   products.mutable_data_ptr<float>() + k * count * outs_, outs_);
    }
    AddFlops(2.0 * static_cast<double>(numbers.numel()) * static_cast<double>(outs_));
  }

 private:
  const Taps& taps_;
  int64_t channels_, outs_;
  Tensor upper_, lower_;
};

}  // namespace

bool WinogradFits(const ConvWeights& w, const Tensor& x, int64_t enlarge) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && !c10::GradMode::is_enabled() &&
         !at::autocast::is_autocast_enabled(at::kCPU) && w.weight.size(0) % kLanes == 0 && x.size(1) % kLanes == 0 &&
         x.is_contiguous(at::MemoryFormat::ChannelsLast) && TilingOf(x, enlarge).tiles() >= kFewestTiles;
}

Tensor WinogradConv(const ConvWeights& w, const Tensor& x, int64_t enlarge) {
  const OpScope scope("genview::winograd_conv");
  const Tiling t = TilingOf(x, enlarge);
  const int64_t outs = w.weight.size(0), c = t.channels;
  ExpectShape(w.weight, {outs, c, 3, 3}, "weight");
  const Tensor y = at::empty({t.n, outs, t.height, t.width}, x.options().memory_format(at::MemoryFormat::ChannelsLast));
  const Tensor bias = w.bias.defined() ? w.bias.to(at::kFloat) : at::zeros({outs}, at::kFloat),
               zeros = at::zeros({c}, at::kFloat);
  const int64_t at_once = std::clamp<int64_t>(
      kFilterBytes / (kNumbers * c * static_cast<int64_t>(sizeof(float))) / kLanes * kLanes, kLanes, outs);
  const bool split = SplitProductsPay(x, kNumbers * t.tiles(), outs, c);
  for (int64_t begin_out = 0; begin_out < outs; begin_out += at_once) {
    const int64_t some = std::min(at_once, outs - begin_out);
    const Taps taps = TransformedTaps(w.weight.narrow(0, begin_out, some), split);
    at::parallel_for(0, (t.tiles() + kTaskTiles - 1) / kTaskTiles, 1, [&](int64_t begin, int64_t end) {
      const c10::InferenceMode guard;
      const Tensor numbers = at::empty({kNumbers * kTaskTiles * c}, at::kFloat),
                   products = at::empty({kNumbers * kTaskTiles * some}, at::kFloat);
      const Multiplier multiply(taps, c, some);
      for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task * kTaskTiles, count = std::min(kTaskTiles, t.tiles() - first);
        const Tensor in = numbers.narrow(0, 0, kNumbers * count * c).view({kNumbers, count, c});
        Tensor out = products.narrow(0, 0, kNumbers * count * some).view({kNumbers, count, some});
        TransformTiles(t, x.const_data_ptr<float>(), first, count, zeros.const_data_ptr<float>(),
                       in.mutable_data_ptr<float>());
        multiply(in, out);
        TransformTilesBack(t, out.const_data_ptr<float>(), first, count, bias.const_data_ptr<float>() + begin_out, some,
                           y.mutable_data_ptr<float>() + begin_out, outs);
      }
    });
  }
  return y;
}

}  // namespace genview
