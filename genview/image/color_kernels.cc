#include "genview/image/color_kernels.h"

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "genview/image/simd.h"

namespace genview::color {
namespace {

uint8_t Blend(uint8_t target, uint8_t value, float factor) {
  const float mixed = static_cast<float>(target) + factor * static_cast<float>(value - target);
  return static_cast<uint8_t>(std::clamp(mixed, 0.0f, 255.0f));
}

// --- hue, one pixel: the mix of float and double is Pillow's, and so are its roundings ------------------------------

struct Hsv {
  uint8_t hue, saturation, value;
};

Hsv ToHsv(const uint8_t* pixel) {
  const int red = pixel[0], green = pixel[1], blue = pixel[2];
  const int high = std::max({red, green, blue}), low = std::min({red, green, blue});
  if (high == low) return {0, 0, static_cast<uint8_t>(high)};
  const auto range = static_cast<float>(high - low);
  const float saturation = range / static_cast<float>(high);
  const float r = static_cast<float>(high - red) / range, g = static_cast<float>(high - green) / range,
              b = static_cast<float>(high - blue) / range;
  float sector;
  if (red == high) sector = b - g;
  else if (green == high) sector = static_cast<float>(2.0 + r - b);
  else sector = static_cast<float>(4.0 + g - r);
  const auto hue = static_cast<float>(std::fmod(sector / 6.0 + 1.0, 1.0));
  return {static_cast<uint8_t>(hue * 255.0), static_cast<uint8_t>(saturation * 255.0), static_cast<uint8_t>(high)};
}

uint8_t RoundHalfUp(double value) { return static_cast<uint8_t>(value + 0.5); }

// Where a hue stands: the sixth of the circle and how far into it.
struct Sector {
  int index;
  float fraction;
};

Sector SectorOf(uint8_t hue) {
  const double place = hue * 6.0 / 255.0;
  const double index = std::floor(place);
  return {static_cast<int>(index) % 6, static_cast<float>(place - index)};
}

void FromHsv(const Hsv& hsv, uint8_t* pixel) {
  const uint8_t v = hsv.value;
  const auto [index, fraction] = SectorOf(hsv.hue);
  const float s = static_cast<float>(hsv.saturation) / 255.0f;
  const uint8_t p = RoundHalfUp(v * (1.0 - s)), q = RoundHalfUp(v * (1.0 - s * fraction)),
                t = RoundHalfUp(v * (1.0 - s * (1.0 - fraction)));
  const uint8_t table[6][3] = {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}};
  std::copy_n(table[index], 3, pixel);
}

// --- AVX2: eight pixels at a time, one 32-bit lane each ---------------------------------------------------------------

constexpr int64_t kStep = 8;
constexpr int64_t kReach = 28;  // bytes that loading eight pixels reads: 24, and 4 more that it does not use

int64_t WholeSteps(int64_t pixels) {
  const int64_t steps = (pixels * 3 - (kReach - 24)) / 24;
  return std::max<int64_t>(steps, 0) * kStep;
}

// Pixels 0 to 3 in the lower half, 4 to 7 in the upper, 12 bytes each.
GENVIEW_AVX2 inline __m256i LoadPixels(const uint8_t* pixels) {
  const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels));
  const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels + 12));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

GENVIEW_AVX2 inline __m256i Channel(__m256i pixels, int c) {
  const __m256i places = _mm256_setr_epi8(0, -1, -1, -1, 3, -1, -1, -1, 6, -1, -1, -1, 9, -1, -1, -1,  //
                                          0, -1, -1, -1, 3, -1, -1, -1, 6, -1, -1, -1, 9, -1, -1, -1);
  // Adding c to -1 (put a zero) would name a byte, so only the first byte of each lane is raised.
  return _mm256_shuffle_epi8(pixels, _mm256_add_epi8(places, _mm256_set1_epi32(c)));
}

GENVIEW_AVX2 inline void StorePixels(uint8_t* pixels, __m256i red, __m256i green, __m256i blue) {
  const __m256i joined =
      _mm256_or_si256(red, _mm256_or_si256(_mm256_slli_epi32(green, 8), _mm256_slli_epi32(blue, 16)));
  const __m256i close = _mm256_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1,  //
                                         0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(joined, close),
                                                    _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(pixels), _mm256_castsi256_si128(bytes));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(pixels + 16), _mm256_extracti128_si256(bytes, 1));
}

// The weight of green does not fit 16 bits with a sign, so it comes in two halves.
GENVIEW_AVX2 inline __m256i LumaOf(__m256i pixels) {
  const __m256i red_green = _mm256_setr_epi8(0, -1, 1, -1, 3, -1, 4, -1, 6, -1, 7, -1, 9, -1, 10, -1,  //
                                             0, -1, 1, -1, 3, -1, 4, -1, 6, -1, 7, -1, 9, -1, 10, -1);
  const __m256i green_blue = _mm256_setr_epi8(1, -1, 2, -1, 4, -1, 5, -1, 7, -1, 8, -1, 10, -1, 11, -1,  //
                                              1, -1, 2, -1, 4, -1, 5, -1, 7, -1, 8, -1, 10, -1, 11, -1);
  const __m256i first = _mm256_madd_epi16(_mm256_shuffle_epi8(pixels, red_green), _mm256_set1_epi32(19595 | 19235 << 16));
  const __m256i second = _mm256_madd_epi16(_mm256_shuffle_epi8(pixels, green_blue), _mm256_set1_epi32(19235 | 7471 << 16));
  return _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(first, second), _mm256_set1_epi32(32768)), 16);
}

GENVIEW_AVX2 inline __m256i BlendLanes(__m256 target, __m256i value, __m256 factor) {
  const __m256 mixed =
      _mm256_add_ps(target, _mm256_mul_ps(factor, _mm256_sub_ps(_mm256_cvtepi32_ps(value), target)));
  return _mm256_cvttps_epi32(_mm256_min_ps(_mm256_max_ps(mixed, _mm256_setzero_ps()), _mm256_set1_ps(255.0f)));
}

// Eight lanes in double.
struct Doubles {
  __m256d low, high;
};
GENVIEW_AVX2 inline Doubles Widen(__m256 x) {
  return {_mm256_cvtps_pd(_mm256_castps256_ps128(x)), _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))};
}
GENVIEW_AVX2 inline __m256 Narrow(const Doubles& x) {
  return _mm256_set_m128(_mm256_cvtpd_ps(x.high), _mm256_cvtpd_ps(x.low));
}
GENVIEW_AVX2 inline __m256i Truncate(const Doubles& x) {
  return _mm256_set_m128i(_mm256_cvttpd_epi32(x.high), _mm256_cvttpd_epi32(x.low));
}

GENVIEW_AVX2 inline __m256i Times255(__m256 x) {
  const Doubles wide = Widen(x);
  const __m256d scale = _mm256_set1_pd(255.0);
  return Truncate({_mm256_mul_pd(wide.low, scale), _mm256_mul_pd(wide.high, scale)});
}

// fmod(sector / 6 + 1, 1) for sectors of -1 to 5.
GENVIEW_AVX2 inline __m256d TurnOf(__m256d sector) {
  const __m256d one = _mm256_set1_pd(1.0);
  const __m256d turn = _mm256_add_pd(_mm256_div_pd(sector, _mm256_set1_pd(6.0)), one);
  return _mm256_sub_pd(turn, _mm256_and_pd(_mm256_cmp_pd(turn, one, _CMP_GE_OQ), one));
}

struct HsvLanes {
  __m256i hue, saturation, value;
};

GENVIEW_AVX2 inline HsvLanes ToHsv(__m256i red, __m256i green, __m256i blue) {
  const __m256i high = _mm256_max_epi32(red, _mm256_max_epi32(green, blue));
  const __m256i low = _mm256_min_epi32(red, _mm256_min_epi32(green, blue));
  const __m256 range = _mm256_cvtepi32_ps(_mm256_sub_epi32(high, low));
  const __m256 r = _mm256_div_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(high, red)), range);
  const __m256 g = _mm256_div_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(high, green)), range);
  const __m256 b = _mm256_div_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(high, blue)), range);
  // 2 + r - b and 4 + g - r rounded once, as in double: one of the two is 1, and what is taken first is then exact.
  const __m256 one = _mm256_set1_ps(1.0f), two = _mm256_set1_ps(2.0f), four = _mm256_set1_ps(4.0f);
  const __m256 r_is_one = _mm256_cmp_ps(r, one, _CMP_EQ_OQ), g_is_one = _mm256_cmp_ps(g, one, _CMP_EQ_OQ);
  const __m256 if_red = _mm256_sub_ps(b, g);
  const __m256 if_green = _mm256_blendv_ps(_mm256_add_ps(_mm256_sub_ps(two, b), r),
                                           _mm256_sub_ps(_mm256_add_ps(two, r), b), r_is_one);
  const __m256 if_blue = _mm256_blendv_ps(_mm256_add_ps(_mm256_sub_ps(four, r), g),
                                          _mm256_sub_ps(_mm256_add_ps(four, g), r), g_is_one);
  const __m256 red_high = _mm256_castsi256_ps(_mm256_cmpeq_epi32(red, high));
  const __m256 green_high = _mm256_castsi256_ps(_mm256_cmpeq_epi32(green, high));
  const Doubles sector = Widen(_mm256_blendv_ps(_mm256_blendv_ps(if_blue, if_green, green_high), if_red, red_high));
  const __m256i hue = Times255(Narrow({TurnOf(sector.low), TurnOf(sector.high)}));
  const __m256i saturation = Times255(_mm256_div_ps(range, _mm256_cvtepi32_ps(high)));
  const __m256i gray = _mm256_cmpeq_epi32(high, low);  // there all of it is 0 / 0
  return {_mm256_andnot_si256(gray, hue), _mm256_andnot_si256(gray, saturation), high};
}

// round(v * (1 - x))
GENVIEW_AVX2 inline __m256i Darken(const Doubles& v, const Doubles& x) {
  const __m256d one = _mm256_set1_pd(1.0), half = _mm256_set1_pd(0.5);
  return Truncate({_mm256_add_pd(_mm256_mul_pd(v.low, _mm256_sub_pd(one, x.low)), half),
                   _mm256_add_pd(_mm256_mul_pd(v.high, _mm256_sub_pd(one, x.high)), half)});
}

struct SectorTable {
  std::array<int32_t, 256> index;
  std::array<float, 256> fraction;

  SectorTable() {
    for (int hue = 0; hue < 256; ++hue) {
      const Sector sector = SectorOf(static_cast<uint8_t>(hue));
      index[static_cast<size_t>(hue)] = sector.index;
      fraction[static_cast<size_t>(hue)] = sector.fraction;
    }
  }
};

// Which of v, t, p, q (0 to 3) a channel is in each sector.
GENVIEW_AVX2 inline __m256i Choose(__m256i sector, __m256i choice_of_sector, __m256i v, __m256i t, __m256i p, __m256i q) {
  const __m256i choice = _mm256_permutevar8x32_epi32(choice_of_sector, sector);
  const auto pick = [&](int number, __m256i value) __attribute__((target("avx2"))) {
    return _mm256_and_si256(value, _mm256_cmpeq_epi32(choice, _mm256_set1_epi32(number)));
  };
  return _mm256_or_si256(_mm256_or_si256(pick(0, v), pick(1, t)), _mm256_or_si256(pick(2, p), pick(3, q)));
}

GENVIEW_AVX2 inline void FromHsv(const HsvLanes& hsv, const SectorTable& table, uint8_t* pixels) {
  const __m256 fraction = _mm256_i32gather_ps(table.fraction.data(), hsv.hue, 4);
  const __m256i index = _mm256_i32gather_epi32(table.index.data(), hsv.hue, 4);
  const __m256 s = _mm256_div_ps(_mm256_cvtepi32_ps(hsv.saturation), _mm256_set1_ps(255.0f));
  const Doubles v = Widen(_mm256_cvtepi32_ps(hsv.value)), wide_s = Widen(s), wide_fraction = Widen(fraction);
  const __m256d one = _mm256_set1_pd(1.0);
  const __m256i p = Darken(v, wide_s);
  const __m256i q = Darken(v, Widen(_mm256_mul_ps(s, fraction)));
  const __m256i t = Darken(v, {_mm256_mul_pd(wide_s.low, _mm256_sub_pd(one, wide_fraction.low)),
                               _mm256_mul_pd(wide_s.high, _mm256_sub_pd(one, wide_fraction.high))});
  const __m256i red = Choose(index, _mm256_setr_epi32(0, 3, 2, 2, 1, 0, 0, 0), hsv.value, t, p, q);
  const __m256i green = Choose(index, _mm256_setr_epi32(1, 0, 0, 3, 2, 2, 0, 0), hsv.value, t, p, q);
  const __m256i blue = Choose(index, _mm256_setr_epi32(2, 2, 1, 0, 0, 3, 0, 0), hsv.value, t, p, q);
  StorePixels(pixels, red, green, blue);
}

}  // namespace

void BlendToValuePlain(uint8_t* bytes, int64_t count, uint8_t target, float factor) {
  std::array<uint8_t, 256> table;
  for (int value = 0; value < 256; ++value) {
    table[static_cast<size_t>(value)] = Blend(target, static_cast<uint8_t>(value), factor);
  }
  for (int64_t i = 0; i < count; ++i) bytes[i] = table[bytes[i]];
}

GENVIEW_AVX2 void BlendToValueAvx2(uint8_t* bytes, int64_t count, uint8_t target, float factor) {
  const __m256 targets = _mm256_set1_ps(target), factors = _mm256_set1_ps(factor);
  int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    __m256i lanes[4];
    for (int k = 0; k < 4; ++k) {
      const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes + i + 8 * k));
      lanes[k] = BlendLanes(targets, _mm256_cvtepu8_epi32(eight), factors);
    }
    // Packing works on halves: bytes 0-3 8-11 16-19 24-27 | 4-7 12-15 ...
    const __m256i packed = _mm256_packus_epi16(_mm256_packs_epi32(lanes[0], lanes[1]), _mm256_packs_epi32(lanes[2], lanes[3]));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(bytes + i), _mm256_permutevar8x32_epi32(packed, order));
  }
  for (; i < count; ++i) bytes[i] = Blend(target, bytes[i], factor);
}

void BlendToLumaPlain(uint8_t* pixels, int64_t count, float factor) {
  for (int64_t i = 0; i < count; ++i, pixels += 3) {
    const uint8_t luma = Luma(pixels);
    for (int c = 0; c < 3; ++c) pixels[c] = Blend(luma, pixels[c], factor);
  }
}

GENVIEW_AVX2 void BlendToLumaAvx2(uint8_t* pixels, int64_t count, float factor) {
  const __m256 factors = _mm256_set1_ps(factor);
  const int64_t fast = WholeSteps(count);
  for (int64_t i = 0; i < fast; i += kStep) {
    const __m256i eight = LoadPixels(pixels + 3 * i);
    const __m256 luma = _mm256_cvtepi32_ps(LumaOf(eight));
    StorePixels(pixels + 3 * i, BlendLanes(luma, Channel(eight, 0), factors), BlendLanes(luma, Channel(eight, 1), factors),
                BlendLanes(luma, Channel(eight, 2), factors));
  }
  BlendToLumaPlain(pixels + 3 * fast, count - fast, factor);
}

uint64_t SumLumaPlain(const uint8_t* pixels, int64_t count) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += Luma(pixels + 3 * i);
  return sum;
}

GENVIEW_AVX2 uint64_t SumLumaAvx2(const uint8_t* pixels, int64_t count) {
  const int64_t fast = WholeSteps(count);
  __m256i sums = _mm256_setzero_si256();  // four of 64 bits
  for (int64_t i = 0; i < fast; i += kStep) {
    sums = _mm256_add_epi64(sums, _mm256_sad_epu8(LumaOf(LoadPixels(pixels + 3 * i)), _mm256_setzero_si256()));
  }
  alignas(32) uint64_t parts[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(parts), sums);
  return parts[0] + parts[1] + parts[2] + parts[3] + SumLumaPlain(pixels + 3 * fast, count - fast);
}

void ShiftHuePlain(uint8_t* pixels, int64_t count, uint8_t shift) {
  for (int64_t i = 0; i < count; ++i, pixels += 3) {
    Hsv hsv = ToHsv(pixels);
    hsv.hue = static_cast<uint8_t>(hsv.hue + shift);
    FromHsv(hsv, pixels);
  }
}

GENVIEW_AVX2 void ShiftHueAvx2(uint8_t* pixels, int64_t count, uint8_t shift) {
  static const SectorTable table;
  const __m256i shifts = _mm256_set1_epi32(shift), byte = _mm256_set1_epi32(255);
  const int64_t fast = WholeSteps(count);
  for (int64_t i = 0; i < fast; i += kStep) {
    const __m256i eight = LoadPixels(pixels + 3 * i);
    HsvLanes hsv = ToHsv(Channel(eight, 0), Channel(eight, 1), Channel(eight, 2));
    hsv.hue = _mm256_and_si256(_mm256_add_epi32(hsv.hue, shifts), byte);
    FromHsv(hsv, table, pixels + 3 * i);
  }
  ShiftHuePlain(pixels + 3 * fast, count - fast, shift);
}

}  // namespace genview::color
