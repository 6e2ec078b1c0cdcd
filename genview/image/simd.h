// Loops in two forms: plain C++, which says what is computed, and AVX2, which gives the same bytes faster.
#pragma once

// For functions that may use AVX2 although the program is built for every x86-64 processor.
#define GENVIEW_AVX2 __attribute__((target("avx2")))

namespace genview {

inline bool HasAvx2() {
  static const bool has = __builtin_cpu_supports("avx2") != 0;
  return has;
}

}  // namespace genview
