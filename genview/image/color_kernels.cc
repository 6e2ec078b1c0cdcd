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

// --- AVX2: eight pixels at a time, one 32-bit lane each ----------------------------------------------------------

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

// Each lane holds a pixel in its lower three bytes.
GENVIEW_AVX2 inline void StorePixels(uint8_t* pixels, __m256i lanes) {
  const __m256i close = _mm256_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1,  //
                                         0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  const __m256i bytes =
      _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(lanes, close), _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(pixels), _mm256_castsi256_si128(bytes));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(pixels + 16), _mm256_extracti128_si256(bytes, 1));
}

// The weight of green does not fit 16 bits with a sign, so it comes in two halves.
GENVIEW_AVX2 inline __m256i LumaOf(__m256i pixels) {
  const __m256i red_green = _mm256_setr_epi8(0, -1, 1, -1, 3, -1, 4, -1, 6, -1, 7, -1, 9, -1, 10, -1,  //
                                             0, -1, 1, -1, 3, -1, 4, -1, 6, -1, 7, -1, 9, -1, 10, -1);
  const __m256i green_blue = _mm256_setr_epi8(1, -1, 2, -1, 4, -1, 5, -1, 7, -1, 8, -1, 10, -1, 11, -1,  //
                                              1, -1, 2, -1, 4, -1, 5, -1, 7, -1, 8, -1, 10, -1, 11, -1);
  const __m256i first =
      _mm256_madd_epi16(_mm256_shuffle_epi8(pixels, red_green), _mm256_set1_epi32(19595 | 19235 << 16));
  const __m256i second =
      _mm256_madd_epi16(_mm256_shuffle_epi8(pixels, green_blue), _mm256_set1_epi32(19235 | 7471 << 16));
  return _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(first, second), _mm256_set1_epi32(32768)), 16);
}

GENVIEW_AVX2 inline __m256i BlendLanes(__m256 target, __m256i value, __m256 factor) {
  const __m256 mixed = _mm256_add_ps(target, _mm256_mul_ps(factor, _mm256_sub_ps(_mm256_cvtepi32_ps(value), target)));
  return _mm256_cvttps_epi32(_mm256_min_ps(_mm256_max_ps(mixed, _mm256_setzero_ps()), _mm256_set1_ps(255.0f)));
}

// Hue and saturation are 255 * fraction cut to whole numbers. A fraction whose exact value would be whole is, for some
// of the values, a little less in the float of the plain loop, and one is lost. Bit k of a table says for which.
struct LostOnes {
  std::array<uint32_t, 8> hue{}, saturation{};

  LostOnes() {
    for (int k = 1; k < 255; ++k) {
      const uint8_t hue_is_k[3] = {RampOf(4 * k), RampOf(4 * k + 680), RampOf(4 * k + 340)};
      if (ToHsv(hue_is_k).hue != k) hue[static_cast<size_t>(k / 32)] |= 1u << (k % 32);
      const uint8_t saturation_is_k[3] = {255, static_cast<uint8_t>(255 - k), static_cast<uint8_t>(255 - k)};
      if (ToHsv(saturation_is_k).saturation != k) saturation[static_cast<size_t>(k / 32)] |= 1u << (k % 32);
    }
  }

  // Red at a place of the circle of 6 * 170 steps: full for a sixth on both sides of 0, then falling for a sixth. Green
  // is the same 4 sixths on, blue 2.
  static uint8_t RampOf(int place) {
    place %= 1020;
    return static_cast<uint8_t>(std::clamp(std::abs(place - 510) - 170, 0, 170));
  }
};

// numerator / denominator cut to a whole number, less what is lost. The float quotient is whole only if the
// exact one is.
GENVIEW_AVX2 inline __m256i Cut(__m256i numerator, __m256i denominator, __m256i lost) {
  const __m256 quotient = _mm256_div_ps(_mm256_cvtepi32_ps(numerator), _mm256_cvtepi32_ps(denominator));
  const __m256i cut = _mm256_cvttps_epi32(quotient);
  const __m256i is_whole = _mm256_castps_si256(_mm256_cmp_ps(_mm256_cvtepi32_ps(cut), quotient, _CMP_EQ_OQ));
  const __m256i word = _mm256_permutevar8x32_epi32(lost, _mm256_srli_epi32(cut, 5));
  const __m256i bit =
      _mm256_and_si256(_mm256_srlv_epi32(word, _mm256_and_si256(cut, _mm256_set1_epi32(31))), _mm256_set1_epi32(1));
  return _mm256_sub_epi32(cut, _mm256_and_si256(bit, is_whole));
}

struct HsvLanes {
  __m256i hue, saturation, value;
};

GENVIEW_AVX2 inline HsvLanes ToHsv(__m256i red, __m256i green, __m256i blue, __m256i lost_hue,
                                   __m256i lost_saturation) {
  const __m256i high = _mm256_max_epi32(red, _mm256_max_epi32(green, blue));
  const __m256i low = _mm256_min_epi32(red, _mm256_min_epi32(green, blue));
  const __m256i range = _mm256_sub_epi32(high, low), twice = _mm256_slli_epi32(range, 1);
  // The place on the circle of 6 * range steps.
  const __m256i if_red = _mm256_sub_epi32(green, blue);
  const __m256i if_green = _mm256_add_epi32(twice, _mm256_sub_epi32(blue, red));
  const __m256i if_blue = _mm256_add_epi32(_mm256_slli_epi32(twice, 1), _mm256_sub_epi32(red, green));
  __m256i place = _mm256_blendv_epi8(if_blue, if_green, _mm256_cmpeq_epi32(green, high));
  place = _mm256_blendv_epi8(place, if_red, _mm256_cmpeq_epi32(red, high));
  const __m256i round = _mm256_add_epi32(_mm256_slli_epi32(twice, 1), twice);
  place = _mm256_add_epi32(place, _mm256_and_si256(round, _mm256_srai_epi32(place, 31)));
  // Products of 16 bits: both factors are below 2^15.
  const __m256i hue = Cut(_mm256_madd_epi16(place, _mm256_set1_epi32(85)), twice, lost_hue);
  const __m256i saturation = Cut(_mm256_madd_epi16(range, _mm256_set1_epi32(255)), high, lost_saturation);
  const __m256i gray = _mm256_cmpeq_epi32(high, low);  // there hue is 0 / 0, and for black saturation, too
  return {_mm256_andnot_si256(gray, hue), _mm256_andnot_si256(gray, saturation), high};
}

// x / 255 rounded, for x up to 255 * 255.
GENVIEW_AVX2 inline __m256i DivideBy255(__m256i x) {
  x = _mm256_add_epi32(x, _mm256_set1_epi32(128));
  return _mm256_srli_epi32(_mm256_add_epi32(x, _mm256_srli_epi32(x, 8)), 8);
}

// value * (1 - x / 255^2) rounded. The product is below 2^24, and the quotient is never half a whole number.
GENVIEW_AVX2 inline __m256i Darken(__m256 value, __m256i x) {
  const __m256 rest = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_set1_epi32(65025), x));
  return _mm256_cvtps_epi32(_mm256_div_ps(_mm256_mul_ps(value, rest), _mm256_set1_ps(65025.0f)));
}

// The whole numbers behind the plain loop's p, q and t: all three are the same for every hue, saturation and value.
GENVIEW_AVX2 inline __m256i FromHsv(const HsvLanes& hsv) {
  const __m256i byte = _mm256_set1_epi32(255);
  const __m256i sixfold = _mm256_mullo_epi16(hsv.hue, _mm256_set1_epi32(6));
  const __m256i sector = _mm256_srli_epi32(  // sixfold / 255
      _mm256_add_epi32(_mm256_add_epi32(sixfold, _mm256_set1_epi32(1)), _mm256_srli_epi32(sixfold, 8)), 8);
  const __m256i fraction = _mm256_sub_epi32(sixfold, _mm256_mullo_epi16(sector, byte));  // in parts of 255
  const __m256 value = _mm256_cvtepi32_ps(hsv.value);
  const __m256i p = DivideBy255(_mm256_mullo_epi16(hsv.value, _mm256_sub_epi32(byte, hsv.saturation)));
  const __m256i q = Darken(value, _mm256_mullo_epi16(hsv.saturation, fraction));
  const __m256i t = Darken(value, _mm256_mullo_epi16(hsv.saturation, _mm256_sub_epi32(byte, fraction)));
  const __m256i vtpq = _mm256_or_si256(_mm256_or_si256(hsv.value, _mm256_slli_epi32(t, 8)),
                                       _mm256_or_si256(_mm256_slli_epi32(p, 16), _mm256_slli_epi32(q, 24)));
  // Which of the four bytes are red, green and blue in a sector (0x020100: v, t, p); sector 6 is 0 again.
  const __m256i order = _mm256_permutevar8x32_epi32(
      _mm256_setr_epi32(0x020100, 0x020003, 0x010002, 0x000302, 0x000201, 0x030200, 0x020100, 0), sector);
  const __m256i lane = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808, 0x0c0c0c0c);
  return _mm256_shuffle_epi8(vtpq, _mm256_add_epi32(order, lane));
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
    const __m256i packed =
        _mm256_packus_epi16(_mm256_packs_epi32(lanes[0], lanes[1]), _mm256_packs_epi32(lanes[2], lanes[3]));
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
    const __m256i red = BlendLanes(luma, Channel(eight, 0), factors);
    const __m256i green = BlendLanes(luma, Channel(eight, 1), factors);
    const __m256i blue = BlendLanes(luma, Channel(eight, 2), factors);
    StorePixels(pixels + 3 * i,
                _mm256_or_si256(red, _mm256_or_si256(_mm256_slli_epi32(green, 8), _mm256_slli_epi32(blue, 16))));
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
  static const LostOnes lost;
  const __m256i lost_hue = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lost.hue.data()));
  const __m256i lost_saturation = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lost.saturation.data()));
  const __m256i shifts = _mm256_set1_epi32(shift), byte = _mm256_set1_epi32(255);
  const int64_t fast = WholeSteps(count);
  for (int64_t i = 0; i < fast; i += kStep) {
    const __m256i eight = LoadPixels(pixels + 3 * i);
    HsvLanes hsv = ToHsv(Channel(eight, 0), Channel(eight, 1), Channel(eight, 2), lost_hue, lost_saturation);
    hsv.hue = _mm256_and_si256(_mm256_add_epi32(hsv.hue, shifts), byte);
    StorePixels(pixels + 3 * i, FromHsv(hsv));
  }
  ShiftHuePlain(pixels + 3 * fast, count - fast, shift);
}

}  // namespace genview::color
