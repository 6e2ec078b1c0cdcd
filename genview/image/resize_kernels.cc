#include "genview/image/resize_kernels.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "genview/image/simd.h"

namespace genview::resize {
namespace {

constexpr int32_t kHalf = 1 << (kFractionBits - 1);
constexpr int kLowBits = 12;

uint8_t Round(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255)); }

// sum = (high << 12) + low + 1/2, as whole numbers.
GENVIEW_AVX2 inline __m256i Join(__m256i low, __m256i high) {
  const __m256i sum = _mm256_add_epi32(low, _mm256_slli_epi32(high, kLowBits));
  return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(kHalf)), kFractionBits);
}

// The sums of both halves of a and of b: a in the lower half, b in the upper.
GENVIEW_AVX2 inline __m256i FoldHalves(__m256i a, __m256i b) {
  return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
}

// Four pixels of three bytes, in both halves, to pairs of neighbours as 16-bit numbers: lower half R0 R1 G0 G1 B0 B1 - -,
// upper half R2 R3 G2 G3 B2 B3 - -.
GENVIEW_AVX2 inline __m256i FourPixels(const uint8_t* pixels) {
  const __m256i pairs = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                                         6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), pairs);
}

// Four bytes, of which the next pixel overwrites one; the last of a row has no next one.
inline void StorePixel(uint8_t* out, int32_t pixel, bool last) {
  if (last) std::memcpy(out, &pixel, 3);
  else std::memcpy(out, &pixel, 4);
}

// kRows rows at a time, so that the weights of a pixel are loaded once for all of them.
template <int kRows>
GENVIEW_AVX2 void HorizontalRows(const Taps& taps, const Rows& rows) {
  const int64_t groups_room = taps.capacity / kTapGroup;
  for (int64_t x = 0; x < taps.size(); ++x) {
    const uint8_t* in = rows.in + 3 * taps.first[static_cast<size_t>(x)];
    const auto* packed = reinterpret_cast<const __m256i*>(taps.packed.data() + x * groups_room * 32);
    const int64_t groups = (taps.count[static_cast<size_t>(x)] + kTapGroup - 1) / kTapGroup;
    __m256i low[kRows], high[kRows];
    for (int r = 0; r < kRows; ++r) low[r] = high[r] = _mm256_setzero_si256();
    for (int64_t g = 0; g < groups; ++g) {
      const __m256i weight_low = _mm256_loadu_si256(packed + 2 * g), weight_high = _mm256_loadu_si256(packed + 2 * g + 1);
      for (int r = 0; r < kRows; ++r) {
        const __m256i pixels = FourPixels(in + r * rows.in_stride + g * 3 * kTapGroup);
        low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(pixels, weight_low));
        high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(pixels, weight_high));
      }
    }
    uint8_t* out = rows.out + 3 * x;
    const bool last = x + 1 == taps.size();
    if constexpr (kRows == 4) {
      const __m256i sum01 = Join(FoldHalves(low[0], low[1]), FoldHalves(high[0], high[1]));
      const __m256i sum23 = Join(FoldHalves(low[2], low[3]), FoldHalves(high[2], high[3]));
      const __m256i words = _mm256_packs_epi32(sum01, sum23);        // rows 0 2 | 1 3
      const __m256i bytes = _mm256_packus_epi16(words, words);       // rows 0 2 0 2 | 1 3 1 3
      const __m128i row02 = _mm256_castsi256_si128(bytes), row13 = _mm256_extracti128_si256(bytes, 1);
      const int32_t pixel[4] = {_mm_cvtsi128_si32(row02), _mm_cvtsi128_si32(row13), _mm_extract_epi32(row02, 1),
                                _mm_extract_epi32(row13, 1)};
      for (int r = 0; r < 4; ++r) StorePixel(out + r * rows.out_stride, pixel[r], last);
    } else {
      const __m256i sum = Join(FoldHalves(low[0], low[0]), FoldHalves(high[0], high[0]));
      const __m256i words = _mm256_packs_epi32(sum, sum);
      const int32_t pixel = _mm_cvtsi128_si32(_mm256_castsi256_si128(_mm256_packus_epi16(words, words)));
      StorePixel(out, pixel, last);
    }
  }
}

void VerticalColumns(const Taps& taps, const Rows& rows, int64_t y, int64_t begin, int64_t end) {
  const int32_t* weight = taps.weight.data() + y * taps.capacity;
  const uint8_t* in = rows.in + taps.first[static_cast<size_t>(y)] * rows.in_stride;
  for (int64_t x = begin; x < end; ++x) {
    int32_t sum = kHalf;
    for (int64_t k = 0; k < taps.count[static_cast<size_t>(y)]; ++k) sum += weight[k] * in[k * rows.in_stride + x];
    rows.out[y * rows.out_stride + x] = Round(sum);
  }
}

// 32 columns of one output row.
GENVIEW_AVX2 void VerticalBlock(const Taps& taps, const Rows& rows, int64_t y, int64_t x) {
  const __m256i zero = _mm256_setzero_si256();
  const int16_t* packed = taps.packed.data() + y * (taps.capacity / kTapGroup) * 32;
  const int64_t count = taps.count[static_cast<size_t>(y)];
  const uint8_t* in = rows.in + taps.first[static_cast<size_t>(y)] * rows.in_stride + x;
  __m256i low[4], high[4];
  for (int i = 0; i < 4; ++i) low[i] = high[i] = zero;
  for (int64_t k = 0; k < count; k += 2) {
    // Taps k and k + 1 as one 32-bit number; they are the first or the ninth pair of their group.
    const int16_t* pair = packed + (k / kTapGroup) * 32 + (k % kTapGroup) * 4;
    int32_t both_low, both_high;
    std::memcpy(&both_low, pair, 4);
    std::memcpy(&both_high, pair + 16, 4);
    const __m256i weight_low = _mm256_set1_epi32(both_low), weight_high = _mm256_set1_epi32(both_high);
    const uint8_t* second = in + (k + 1 < count ? rows.in_stride : 0);  // behind the last tap the weight is 0
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(second));
    const __m256i first_half = _mm256_unpacklo_epi8(a, b), second_half = _mm256_unpackhi_epi8(a, b);
    const __m256i pairs[4] = {_mm256_unpacklo_epi8(first_half, zero), _mm256_unpackhi_epi8(first_half, zero),
                              _mm256_unpacklo_epi8(second_half, zero), _mm256_unpackhi_epi8(second_half, zero)};
    for (int i = 0; i < 4; ++i) {
      low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(pairs[i], weight_low));
      high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(pairs[i], weight_high));
    }
    in += 2 * rows.in_stride;
  }
  const __m256i words0 = _mm256_packs_epi32(Join(low[0], high[0]), Join(low[1], high[1]));
  const __m256i words1 = _mm256_packs_epi32(Join(low[2], high[2]), Join(low[3], high[3]));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(rows.out + y * rows.out_stride + x), _mm256_packus_epi16(words0, words1));
}

}  // namespace

void Pack(Taps& taps) {
  taps.packed.assign(taps.weight.size() / kTapGroup * 32, 0);
  int16_t* packed = taps.packed.data();
  for (size_t group = 0; group < taps.weight.size(); group += kTapGroup, packed += 32) {
    for (int i = 0; i < 16; ++i) {
      const int32_t weight = taps.weight[group + static_cast<size_t>((i / 8) * 2 + i % 2)];
      packed[i] = static_cast<int16_t>(weight & ((1 << kLowBits) - 1));
      packed[16 + i] = static_cast<int16_t>(weight >> kLowBits);
    }
  }
}

void HorizontalPlain(const Taps& taps, const Rows& rows, int64_t count) {
  for (int64_t y = 0; y < count; ++y) {
    uint8_t* out = rows.out + y * rows.out_stride;
    for (int64_t x = 0; x < taps.size(); ++x, out += 3) {
      const int32_t* weight = taps.weight.data() + x * taps.capacity;
      const uint8_t* in = rows.in + y * rows.in_stride + 3 * taps.first[static_cast<size_t>(x)];
      int32_t red = kHalf, green = kHalf, blue = kHalf;
      for (int64_t k = 0; k < taps.count[static_cast<size_t>(x)]; ++k, in += 3) {
        red += weight[k] * in[0];
        green += weight[k] * in[1];
        blue += weight[k] * in[2];
      }
      out[0] = Round(red);
      out[1] = Round(green);
      out[2] = Round(blue);
    }
  }
}

void HorizontalAvx2(const Taps& taps, const Rows& rows, int64_t count) {
  int64_t y = 0;
  const auto from = [&](int64_t row) {
    return Rows{rows.in + row * rows.in_stride, rows.in_stride, rows.out + row * rows.out_stride, rows.out_stride};
  };
  for (; y + 4 <= count; y += 4) HorizontalRows<4>(taps, from(y));
  for (; y < count; ++y) HorizontalRows<1>(taps, from(y));
}

void VerticalPlain(const Taps& taps, const Rows& rows, int64_t bytes) {
  for (int64_t y = 0; y < taps.size(); ++y) VerticalColumns(taps, rows, y, 0, bytes);
}

void VerticalAvx2(const Taps& taps, const Rows& rows, int64_t bytes) {
  constexpr int64_t kBlock = 32;
  for (int64_t y = 0; y < taps.size(); ++y) {
    int64_t x = 0;
    for (; x + kBlock <= bytes; x += kBlock) VerticalBlock(taps, rows, y, x);
    // The last block overlaps the one before; only rows of less than a block take the plain loop.
    if (x < bytes && bytes >= kBlock) VerticalBlock(taps, rows, y, bytes - kBlock);
    else VerticalColumns(taps, rows, y, x, bytes);
  }
}

}  // namespace genview::resize
