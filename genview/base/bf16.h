// bf16, the upper half of a float, in loops of our own. Nothing here branches, so that loops vectorise.
#pragma once

#include <bit>
#include <cstdint>

#include "genview/base/clones.h"

namespace genview {

struct Bf16 {
  uint16_t bits;
};

namespace bf16 {

GENVIEW_INLINE float Load(const float* p) { return *p; }
GENVIEW_INLINE float Load(const Bf16* p) { return std::bit_cast<float>(static_cast<uint32_t>(p->bits) << 16); }
GENVIEW_INLINE void Store(float* p, float v) { *p = v; }
GENVIEW_INLINE void Store(Bf16* p, float v) {  // to the nearest, halves to even; NaN stays NaN
  const uint32_t bits = std::bit_cast<uint32_t>(v);
  const uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  const uint32_t nan = (0x7F800000u - (bits & 0x7FFFFFFFu)) >> 31;  // 1 or 0
  p->bits = static_cast<uint16_t>((rounded & (nan - 1)) | (0x7FC0u & (0 - nan)));
}

}  // namespace bf16
}  // namespace genview
