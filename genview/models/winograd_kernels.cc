#include "genview/models/winograd_kernels.h"

#include <cstddef>
#include <utility>

#include "genview/base/clones.h"

namespace genview::winograd {
namespace {

// kLanes channels at once, wherever they lie in memory.
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float)), aligned(sizeof(float)), may_alias));

// F(2x2, 3x3): y = A' [(G g G') * (B' d B)] A, with * element by element.
constexpr float kPixels[kIn][kIn] = {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}};  // B'
constexpr float kTaps[kIn][3] = {{1, 0, 0}, {0.5f, 0.5f, 0.5f}, {0.5f, -0.5f, 0.5f}, {0, 0, 1}};  // G
constexpr float kBack[kOut][kIn] = {{1, 1, 1, 0}, {0, 1, -1, -1}};                                // A'

template <const auto& kMatrix, size_t kRow, size_t kColumn>
GENVIEW_INLINE void AddTerm(Lanes& sum, const Lanes& x) {
  constexpr float kFactor = kMatrix[kRow][kColumn];
  if constexpr (kFactor == 1) sum += x;
  else if constexpr (kFactor == -1) sum -= x;
  else if constexpr (kFactor != 0) sum += kFactor * x;
}

// y[row * kYStride] = sum over columns of kMatrix[row][column] * x[column * kXStride].
template <const auto& kMatrix, size_t kXStride, size_t kYStride, size_t... rows, size_t... columns>
GENVIEW_INLINE void Multiply(const Lanes* x, Lanes* y, std::index_sequence<rows...>, std::index_sequence<columns...>) {
  const auto row = [&]<size_t kRow>() __attribute__((always_inline)) {
    Lanes sum{};
    (AddTerm<kMatrix, kRow, columns>(sum, x[columns * kXStride]), ...);
    y[kRow * kYStride] = sum;
  };
  (row.template operator()<rows>(), ...);
}

// y [R,R] = M x M' for M [R,C] and x [C,C].
template <const auto& kMatrix, size_t kRows, size_t kColumns>
GENVIEW_INLINE void Sandwich(const Lanes* x, Lanes* y) {
  Lanes half[kRows * kColumns];
  for (size_t column = 0; column < kColumns; ++column) {
    Multiply<kMatrix, kColumns, kColumns>(x + column, half + column, std::make_index_sequence<kRows>(),
                                          std::make_index_sequence<kColumns>());
  }
  for (size_t row = 0; row < kRows; ++row) {
    Multiply<kMatrix, 1, 1>(half + row * kColumns, y + row * kRows, std::make_index_sequence<kRows>(),
                            std::make_index_sequence<kColumns>());
  }
}

GENVIEW_INLINE Lanes Load(const float* p) { return *reinterpret_cast<const Lanes*>(p); }
GENVIEW_INLINE void Store(float* p, const Lanes& v) { *reinterpret_cast<Lanes*>(p) = v; }

}  // namespace

GENVIEW_CLONES void TransformPixels(const float* const* pixels, int64_t channels, float* out, int64_t plane) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    Lanes x[kNumbers], y[kNumbers];
    for (int64_t k = 0; k < kNumbers; ++k) x[k] = Load(pixels[k] + c);
    Sandwich<kPixels, kIn, kIn>(x, y);
    for (int64_t k = 0; k < kNumbers; ++k) Store(out + k * plane + c, y[k]);
  }
}

GENVIEW_CLONES void TransformTaps(const float* taps, int64_t channels, float* out, int64_t plane) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    Lanes x[9], y[kNumbers];
    for (int64_t k = 0; k < 9; ++k) x[k] = Load(taps + k * channels + c);
    Sandwich<kTaps, kIn, 3>(x, y);
    for (int64_t k = 0; k < kNumbers; ++k) Store(out + k * plane + c, y[k]);
  }
}

GENVIEW_CLONES void TransformBack(const float* products, int64_t plane, const float* bias, int64_t channels,
                                  float* const* out) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    Lanes x[kNumbers], y[kOut * kOut];
    for (int64_t k = 0; k < kNumbers; ++k) x[k] = Load(products + k * plane + c);
    Sandwich<kBack, kOut, kIn>(x, y);
    for (int64_t k = 0; k < kOut * kOut; ++k) {
      if (out[k] != nullptr) Store(out[k] + c, y[k] + Load(bias + c));
    }
  }
}

}  // namespace genview::winograd
