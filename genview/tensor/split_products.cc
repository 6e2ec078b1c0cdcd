#include "genview/tensor/split_products.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>

#include "genview/base/clones.h"
#include "genview/tensor/device.h"
#include "genview/tensor/flop_count.h"
#include "genview/tensor/op_profile.h"

// Of MKL, which LibTorch brings along; a LibTorch without it has fp32 products alone.
extern "C" void gemm_bf16bf16f32_(const char* transpose_a, const char* transpose_b, const int* m, const int* n,
                                  const int* k, const float* alpha, const genview::Bf16* a, const int* lda,
                                  const genview::Bf16* b, const int* ldb, const float* beta, float* c, const int* ldc)
    __attribute__((weak));

namespace genview {
namespace {

constexpr int64_t kRows = 2048;                          // of x at a time
constexpr int64_t kOuts = 128;                           // for one thread
constexpr int64_t kFewestProducts = int64_t{1} << 26;    // below, fp32 is soon done
constexpr int64_t kFewestRows = 256, kFewestOuts = 128;  // below, splitting the other factor takes longer than it saves

// c (+)= a b^T. MKL counts in columns, so the factors change places.
void Multiply(const Bf16* a, int64_t rows, const Bf16* b, int64_t outs, int64_t width, bool add, float* c,
              int64_t stride) {
  const int m = static_cast<int>(outs), n = static_cast<int>(rows), k = static_cast<int>(width),
            ldc = static_cast<int>(stride);
  const float one = 1, kept = add ? 1.0f : 0.0f;
  gemm_bf16bf16f32_("T", "N", &m, &n, &k, &one, b, &k, a, &k, &kept, c, &ldc);
}

// `rows` rows of a weight from `first` on. upper and lower: room for them, unless they are used where they lie.
SplitMatrix SplitRows(const Tensor& weight, int64_t first, int64_t rows, Bf16* upper, Bf16* lower) {
  const Tensor some = weight.narrow(0, first, rows);
  if (weight.scalar_type() == at::kBFloat16) return {DataOf<Bf16>(some), nullptr};
  const Tensor wide = some.to(at::kFloat);
  SplitValues(wide.const_data_ptr<float>(), wide.numel(), upper, lower);
  return {upper, lower};
}

bool FitsInt(int64_t value) { return value <= INT32_MAX; }

}  // namespace

GENVIEW_CLONES void SplitValues(const float* in, int64_t count, Bf16* upper, Bf16* lower) {
  constexpr int64_t kStrip = 256;  // loops over 32-bit values vectorise, those that mix them with 16-bit ones do not
  std::array<float, kStrip> high, low;
  for (int64_t at = 0; at < count; at += kStrip) {
    const int64_t some = std::min(kStrip, count - at);
    for (int64_t i = 0; i < some; ++i) {
      const auto bits = std::bit_cast<uint32_t>(in[at + i]);
      const bool finite = (bits & 0x7F800000u) != 0x7F800000u;
      const uint32_t rounded = finite ? (bits + 0x7FFFu + ((bits >> 16) & 1u)) & 0xFFFF0000u : bits;
      high[static_cast<size_t>(i)] = std::bit_cast<float>(rounded);
      low[static_cast<size_t>(i)] = finite ? in[at + i] - std::bit_cast<float>(rounded) : 0.0f;
    }
    for (int64_t i = 0; i < some; ++i) bf16::Store(upper + at + i, high[static_cast<size_t>(i)]);
    for (int64_t i = 0; i < some; ++i) bf16::Store(lower + at + i, low[static_cast<size_t>(i)]);
  }
}

bool SplitProductsPay(const Tensor& x, int64_t rows, int64_t outs, int64_t width) {
  static const bool amx = ReadCpuFeatures().amx_bf16 && gemm_bf16bf16f32_ != nullptr;
  return amx && x.is_cpu() && x.scalar_type() == at::kFloat && !c10::GradMode::is_enabled() &&
         !at::autocast::is_autocast_enabled(at::kCPU) && rows >= kFewestRows && outs >= kFewestOuts &&
         rows * outs * width >= kFewestProducts && FitsInt(outs) && FitsInt(width);
}

void SplitProduct(SplitMatrix a, int64_t rows, SplitMatrix b, int64_t outs, int64_t width, bool add, float* c,
                  int64_t stride) {
  if (a.lower != nullptr) Multiply(a.lower, rows, b.upper, outs, width, std::exchange(add, true), c, stride);
  if (b.lower != nullptr) Multiply(a.upper, rows, b.lower, outs, width, std::exchange(add, true), c, stride);
  Multiply(a.upper, rows, b.upper, outs, width, add, c, stride);
}

Tensor SplitLinear(const Tensor& given, const Tensor& given_weight, const Tensor& bias) {
  const OpScope scope("genview::split_linear");
  const Tensor x = given.contiguous(), weight = given_weight.contiguous();
  const int64_t rows = x.size(0), width = x.size(1), outs = weight.size(0), panels = (outs + kOuts - 1) / kOuts;
  Tensor y = at::empty({rows, outs}, x.options());
  if (bias.defined()) y.copy_(bias.expand_as(y));
  const int64_t most = std::min(kRows, rows);
  const Tensor upper = at::empty({most, width}, at::kBFloat16), lower = at::empty_like(upper);
  for (int64_t first = 0; first < rows; first += kRows) {
    const int64_t some = std::min(kRows, rows - first);
    const float* in = x.const_data_ptr<float>() + first * width;
    at::parallel_for(0, some, std::max<int64_t>(1, (1 << 15) / width), [&](int64_t begin, int64_t end) {
      SplitValues(in + begin * width, (end - begin) * width, MutableDataOf<Bf16>(upper) + begin * width,
                  MutableDataOf<Bf16>(lower) + begin * width);
    });
    at::parallel_for(0, panels, 1, [&](int64_t begin, int64_t end) {
      const Tensor own_upper = at::empty({kOuts, width}, at::kBFloat16), own_lower = at::empty_like(own_upper);
      for (int64_t panel = begin; panel < end; ++panel) {
        const int64_t out = panel * kOuts, count = std::min(kOuts, outs - out);
        const SplitMatrix panel_rows =
            SplitRows(weight, out, count, MutableDataOf<Bf16>(own_upper), MutableDataOf<Bf16>(own_lower));
        SplitProduct({DataOf<Bf16>(upper), DataOf<Bf16>(lower)}, some, panel_rows, count, width, bias.defined(),
                     y.mutable_data_ptr<float>() + first * outs + out, outs);
      }
    });
  }
  AddFlops(2.0 * static_cast<double>(rows) * static_cast<double>(outs) * static_cast<double>(width));
  return y;
}

}  // namespace genview
