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

// Four pixels of a row in the lower half, of another in the upper.
GENVIEW_AVX2 inline __m256i FourPixelsOfTwoRows(const uint8_t* first, const uint8_t* second) {
  const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(first));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(low), _mm_loadu_si128(reinterpret_cast<const __m128i*>(second)),
                                 1);
}

// Two of them as pairs of 16-bit numbers in each half: R R G G B B - -.
GENVIEW_AVX2 inline __m256i FirstPair(__m256i pixels) {
  return _mm256_shuffle_epi8(pixels, _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                                                      0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
}
GENVIEW_AVX2 inline __m256i SecondPair(__m256i pixels) {
  return _mm256_shuffle_epi8(pixels, _mm256_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1,  //
                                                      6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
}

// A sum in two parts, so that 16-bit multiply-adds make it exactly.
struct Sum {
  __m256i low, high;

  GENVIEW_AVX2 void Add(__m256i pairs, const TapPair& weights) {
    low = _mm256_add_epi32(low, _mm256_madd_epi16(pairs, _mm256_set1_epi32(static_cast<int32_t>(weights.low))));
    high = _mm256_add_epi32(high, _mm256_madd_epi16(pairs, _mm256_set1_epi32(static_cast<int32_t>(weights.high))));
  }
  GENVIEW_AVX2 __m256i Rounded() const {
    const __m256i sum = _mm256_add_epi32(low, _mm256_slli_epi32(high, kLowBits));
    return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(kHalf)), kFractionBits);
  }
};

// Four bytes, of which the next pixel overwrites one; the last of a row has no next one.
inline void StorePixel(uint8_t* out, int32_t pixel, bool last) {
  if (last) std::memcpy(out, &pixel, 3);
  else std::memcpy(out, &pixel, 4);
}

// Four rows at a time, so that the weights of a pixel are loaded once for all of them.
GENVIEW_AVX2 void HorizontalFourRows(const Taps& taps, const uint8_t* const* in, uint8_t* const* out) {
  const __m256i zero = _mm256_setzero_si256();
  for (int64_t x = 0; x < taps.size(); ++x) {
    int64_t at = 3 * taps.first[static_cast<size_t>(x)];
    const int64_t count = taps.count[static_cast<size_t>(x)];
    const TapPair* pair = taps.pairs.data() + x * taps.capacity / 2;
    Sum rows01{zero, zero}, rows23{zero, zero};
    int64_t k = 0;
    for (; k + 2 < count; k += 4, pair += 2, at += 12) {
      const __m256i pixels01 = FourPixelsOfTwoRows(in[0] + at, in[1] + at);
      const __m256i pixels23 = FourPixelsOfTwoRows(in[2] + at, in[3] + at);
      rows01.Add(FirstPair(pixels01), pair[0]);
      rows23.Add(FirstPair(pixels23), pair[0]);
      rows01.Add(SecondPair(pixels01), pair[1]);
      rows23.Add(SecondPair(pixels23), pair[1]);
    }
    if (k < count) {
      rows01.Add(FirstPair(FourPixelsOfTwoRows(in[0] + at, in[1] + at)), *pair);
      rows23.Add(FirstPair(FourPixelsOfTwoRows(in[2] + at, in[3] + at)), *pair);
    }
    const __m256i words = _mm256_packs_epi32(rows01.Rounded(), rows23.Rounded());  // rows 0 2 | 1 3
    const __m256i bytes = _mm256_packus_epi16(words, words);
    const __m128i row02 = _mm256_castsi256_si128(bytes), row13 = _mm256_extracti128_si256(bytes, 1);
    const bool last = x + 1 == taps.size();
    StorePixel(out[0] + 3 * x, _mm_cvtsi128_si32(row02), last);
    StorePixel(out[1] + 3 * x, _mm_cvtsi128_si32(row13), last);
    StorePixel(out[2] + 3 * x, _mm_extract_epi32(row02, 1), last);
    StorePixel(out[3] + 3 * x, _mm_extract_epi32(row13, 1), last);
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
  const int64_t count = taps.count[static_cast<size_t>(y)];
  const TapPair* pair = taps.pairs.data() + y * taps.capacity / 2;
  const uint8_t* in = rows.in + taps.first[static_cast<size_t>(y)] * rows.in_stride + x;
  Sum sums[4] = {{zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}};
  for (int64_t k = 0; k < count; k += 2, ++pair, in += 2 * rows.in_stride) {
    const uint8_t* second = in + (k + 1 < count ? rows.in_stride : 0);  // behind the last tap the weight is 0
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(second));
    const __m256i low = _mm256_unpacklo_epi8(a, b), high = _mm256_unpackhi_epi8(a, b);
    sums[0].Add(_mm256_unpacklo_epi8(low, zero), *pair);
    sums[1].Add(_mm256_unpackhi_epi8(low, zero), *pair);
    sums[2].Add(_mm256_unpacklo_epi8(high, zero), *pair);
    sums[3].Add(_mm256_unpackhi_epi8(high, zero), *pair);
  }
  const __m256i words0 = _mm256_packs_epi32(sums[0].Rounded(), sums[1].Rounded());
  const __m256i words1 = _mm256_packs_epi32(sums[2].Rounded(), sums[3].Rounded());
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(rows.out + y * rows.out_stride + x),
                      _mm256_packus_epi16(words0, words1));
}

}  // namespace

void Pack(Taps& taps) {
  const auto low = [](int32_t weight) { return static_cast<uint32_t>(weight) & ((1u << kLowBits) - 1); };
  const auto high = [](int32_t weight) { return static_cast<uint32_t>(weight >> kLowBits) & 0xffffu; };
  taps.pairs.resize(taps.weight.size() / 2);
  for (size_t i = 0; i < taps.pairs.size(); ++i) {
    const int32_t first = taps.weight[2 * i], second = taps.weight[2 * i + 1];
    taps.pairs[i] = {low(first) | low(second) << 16, high(first) | high(second) << 16};
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
  for (int64_t y = 0; y < count; y += 4) {
    const uint8_t* in[4];
    uint8_t* out[4];
    for (int64_t k = 0; k < 4; ++k) {
      // Of fewer than four rows the last is made more than once.
      const int64_t row = std::min(y + k, count - 1);
      in[k] = rows.in + row * rows.in_stride;
      out[k] = rows.out + row * rows.out_stride;
    }
    HorizontalFourRows(taps, in, out);
  }
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
