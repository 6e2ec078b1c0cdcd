#include "genview/tensor/finite.h"

#include <algorithm>
#include <atomic>

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

namespace genview {
namespace {

constexpr int64_t kPiece = int64_t{1} << 16;  // values that are looked at in one go

// All exponent bits set: NaN or infinity. Without an early end, so that it vectorises.
template <class Bits>
bool HasFullExponent(const void* data, int64_t count, Bits exponent) {
  const Bits* values = static_cast<const Bits*>(data);
  Bits found = 0;
  for (int64_t i = 0; i < count; ++i) found = static_cast<Bits>(found | ((values[i] & exponent) == exponent));
  return found != 0;
}

bool PieceIsFinite(const Tensor& x) {
  if (!x.is_contiguous()) return PieceIsFinite(x.contiguous());
  switch (x.scalar_type()) {
    case at::kHalf:
      return !HasFullExponent<uint16_t>(x.const_data_ptr(), x.numel(), 0x7C00);
    case at::kBFloat16:
      return !HasFullExponent<uint16_t>(x.const_data_ptr(), x.numel(), 0x7F80);
    case at::kFloat:
      return !HasFullExponent<uint32_t>(x.const_data_ptr(), x.numel(), 0x7F800000);
    default:
      return at::isfinite(x.to(at::kDouble)).all().item<bool>();  // eight bits, doubles: rare
  }
}

// Calls work(first, count) for parts of the first extent that hold about kPiece values, on all threads.
template <class Work>
void ForEachPiece(const Tensor& x, Work&& work) {
  const int64_t rows = x.size(0), step = std::max<int64_t>(1, kPiece / std::max<int64_t>(1, x.numel() / rows));
  at::parallel_for(0, (rows + step - 1) / step, 1, [&](int64_t begin, int64_t end) {
    const c10::InferenceMode guard;
    for (int64_t piece = begin; piece < end; ++piece) work(piece * step, std::min(step, rows - piece * step));
  });
}

}  // namespace

bool AllFinite(const Tensor& x) {
  if (x.numel() == 0) return true;
  if (x.dim() == 0) return PieceIsFinite(x);
  std::atomic<bool> finite = true;
  ForEachPiece(x, [&](int64_t first, int64_t count) {
    if (!PieceIsFinite(x.narrow(0, first, count))) finite = false;
  });
  return finite;
}

bool CopyFinite(const Tensor& to, const Tensor& from) {
  if (from.numel() == 0) return true;
  if (from.dim() == 0) {
    to.copy_(from);
    return PieceIsFinite(from);
  }
  std::atomic<bool> finite = true;
  ForEachPiece(from, [&](int64_t first, int64_t count) {
    const Tensor piece = from.narrow(0, first, count);
    to.narrow(0, first, count).copy_(piece);
    if (!PieceIsFinite(piece)) finite = false;
  });
  return finite;
}

}  // namespace genview
