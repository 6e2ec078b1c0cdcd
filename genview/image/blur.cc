// Gaussian blur as Pillow does it: three passes of a box blur whose two outermost pixels count by a fraction, along the
// rows, then along the columns, rounded to 8 bits after each pass. Beyond its edges a line goes on with its last pixel.
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "genview/image/color.h"
#include "genview/image/simd.h"

namespace genview {
namespace {

constexpr int kPasses = 3;

// One pass: (sum of the pixels at distance 0 to `radius`) * inner + (the two at radius + 1) * edge, in parts of 2^24.
struct BoxKernel {
  int64_t radius;
  uint32_t inner, edge;

  uint8_t Mix(uint32_t sum, uint32_t ends) const {
    return static_cast<uint8_t>((sum * inner + ends * edge + (1u << 23)) >> 24);
  }
};

// The extended box whose three-fold pass has the variance sigma^2.
BoxKernel MakeBox(float sigma) {
  const float variance = sigma * sigma / kPasses;
  const auto side = static_cast<float>(std::sqrt(12.0 * variance + 1.0));
  const auto whole = static_cast<float>(std::floor((side - 1.0) / 2.0));
  float fraction = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance);
  fraction /= 6 * (variance - (whole + 1) * (whole + 1));
  const float radius = whole + fraction;
  BoxKernel box;
  box.radius = static_cast<int64_t>(radius);
  box.inner = static_cast<uint32_t>((1 << 24) / (radius * 2 + 1));
  box.edge = ((1u << 24) - static_cast<uint32_t>(2 * box.radius + 1) * box.inner) / 2;
  return box;
}

// Weights cut into 12 bits each for multiply-add of 16-bit numbers.
struct BoxWeights {
  __m256i low, high;

  GENVIEW_AVX2 explicit BoxWeights(const BoxKernel& box)
      : low(_mm256_set1_epi32(static_cast<int32_t>((box.inner & 0xfff) | (box.edge & 0xfff) << 16))),
        high(_mm256_set1_epi32(static_cast<int32_t>((box.inner >> 12) | (box.edge >> 12) << 16))) {}
};

GENVIEW_AVX2 inline __m256i MixLanes(__m256i sums_and_ends, const BoxWeights& w) {
  const __m256i low = _mm256_madd_epi16(sums_and_ends, w.low);
  const __m256i high = _mm256_slli_epi32(_mm256_madd_epi16(sums_and_ends, w.high), 12);
  return _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(low, high), _mm256_set1_epi32(1 << 23)), 24);
}

GENVIEW_AVX2 inline __m256i SixteenAsWords(const uint8_t* bytes) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
}

// out[i] for i below `bytes`, of taps[k][i], k from 0 (distance -(radius + 1)) to 2 * radius + 2. The radius is known
// to the compiler, so the loop over the taps disappears.
template <int kRadius>
GENVIEW_AVX2 void MixTapsAvx2(const uint8_t* const* taps, uint8_t* out, int64_t bytes, const BoxKernel& box) {
  constexpr int kLast = 2 * kRadius + 2;
  const BoxWeights weights(box);
  int64_t i = 0;
  for (; i + 16 <= bytes; i += 16) {
    __m256i sum = SixteenAsWords(taps[1] + i);
    for (int k = 2; k < kLast; ++k) sum = _mm256_add_epi16(sum, SixteenAsWords(taps[k] + i));
    const __m256i ends = _mm256_add_epi16(SixteenAsWords(taps[0] + i), SixteenAsWords(taps[kLast] + i));
    const __m256i words = _mm256_packus_epi32(MixLanes(_mm256_unpacklo_epi16(sum, ends), weights),
                                              MixLanes(_mm256_unpackhi_epi16(sum, ends), weights));
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi16(words, words), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm256_castsi256_si128(packed));
  }
  for (; i < bytes; ++i) {
    uint32_t sum = 0;
    for (int k = 1; k < kLast; ++k) sum += taps[k][i];
    out[i] = box.Mix(sum, uint32_t{taps[0][i]} + taps[kLast][i]);
  }
}

using MixTaps = void (*)(const uint8_t* const*, uint8_t*, int64_t, const BoxKernel&);

// The loop for this radius, or null: then the sum is carried along the line instead.
MixTaps FastMix(const BoxKernel& box) {
  if (!HasAvx2()) return nullptr;
  if (box.radius == 0) return MixTapsAvx2<0>;
  if (box.radius == 1) return MixTapsAvx2<1>;
  return nullptr;
}
constexpr int kMostFastTaps = 5;

// A row with room for radius + 1 pixels before and behind it.
class PaddedRow {
 public:
  PaddedRow(int64_t width, int64_t radius)
      : width_(width), pad_(radius + 1), bytes_(static_cast<size_t>((width + 2 * pad_) * 3)) {}

  uint8_t* pixels() { return bytes_.data() + pad_ * 3; }
  void RepeatEnds() {
    uint8_t *first = pixels(), *last = pixels() + (width_ - 1) * 3;
    for (int64_t k = 1; k <= pad_; ++k) {
      std::memcpy(first - 3 * k, first, 3);
      std::memcpy(last + 3 * k, last, 3);
    }
  }

 private:
  int64_t width_, pad_;
  std::vector<uint8_t> bytes_;
};

void BlurRowOnce(const uint8_t* in, uint8_t* out, int64_t bytes, const BoxKernel& box) {
  const int64_t reach = 3 * box.radius;
  if (const MixTaps mix = FastMix(box)) {
    const uint8_t* taps[kMostFastTaps];
    for (int64_t k = 0; k < 2 * box.radius + 3; ++k) taps[k] = in + 3 * (k - box.radius - 1);
    return mix(taps, out, bytes, box);
  }
  uint32_t sums[3] = {0, 0, 0};  // of the window of the pixel before
  for (int64_t i = -reach - 3; i < reach; ++i) sums[(i + 3 * (box.radius + 1)) % 3] += in[i];
  for (int64_t i = 0; i < bytes; ++i) {
    uint32_t& sum = sums[i % 3];
    sum += in[i + reach];
    sum -= in[i - reach - 3];
    out[i] = box.Mix(sum, uint32_t{in[i - reach - 3]} + in[i + reach + 3]);
  }
}

void BlurRows(Image& image, const BoxKernel& box) {
  PaddedRow a(image.width, box.radius), b(image.width, box.radius);
  const int64_t bytes = image.width * 3;
  for (int64_t y = 0; y < image.height; ++y) {
    PaddedRow *from = &a, *to = &b;
    std::memcpy(from->pixels(), image.at(0, y), static_cast<size_t>(bytes));
    for (int pass = 0; pass < kPasses; ++pass) {
      from->RepeatEnds();
      uint8_t* out = pass + 1 < kPasses ? to->pixels() : image.at(0, y);
      BlurRowOnce(from->pixels(), out, bytes, box);
      std::swap(from, to);
    }
  }
}

void BlurColumnsOnce(const Image& from, Image& to, const BoxKernel& box) {
  const int64_t bytes = from.width * 3, last = from.height - 1;
  const auto row = [&](int64_t y) { return from.at(0, std::clamp<int64_t>(y, 0, last)); };
  if (const MixTaps mix = FastMix(box)) {
    const uint8_t* taps[kMostFastTaps];
    for (int64_t y = 0; y < from.height; ++y) {
      for (int64_t k = 0; k < 2 * box.radius + 3; ++k) taps[k] = row(y + k - box.radius - 1);
      mix(taps, to.at(0, y), bytes, box);
    }
    return;
  }
  std::vector<uint32_t> sums(static_cast<size_t>(bytes));  // of the windows of the row before
  for (int64_t y = -box.radius - 1; y < box.radius; ++y) {
    for (int64_t i = 0; i < bytes; ++i) sums[static_cast<size_t>(i)] += row(y)[i];
  }
  for (int64_t y = 0; y < from.height; ++y) {
    const uint8_t *entering = row(y + box.radius), *leaving = row(y - box.radius - 1), *next = row(y + box.radius + 1);
    uint8_t* out = to.at(0, y);
    for (int64_t i = 0; i < bytes; ++i) {
      const uint32_t sum = sums[static_cast<size_t>(i)] += entering[i] - uint32_t{leaving[i]};
      out[i] = box.Mix(sum, uint32_t{leaving[i]} + next[i]);
    }
  }
}

}  // namespace

void GaussianBlur(Image& image, double sigma) {
  GENVIEW_CHECK(sigma >= 0 && sigma <= 1000, "a blur of a negative or huge radius");
  if (sigma == 0 || image.pixels.empty()) return;
  const BoxKernel box = MakeBox(static_cast<float>(sigma));
  BlurRows(image, box);
  Image other(image.width, image.height);
  for (int pass = 0; pass < kPasses; ++pass) {
    BlurColumnsOnce(image, other, box);
    std::swap(image, other);
  }
}

}  // namespace genview
