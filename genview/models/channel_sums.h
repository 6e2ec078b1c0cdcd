// Sums per channel over many pixels, the same for any number of threads: fp32 over a few rows, those added in fp64.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace genview {

constexpr int64_t kTaskRows = 512;  // of pixels, for one thread
constexpr int64_t kFloatRows = 64;  // summed in fp32 before they are added in fp64

// Two sums per channel over a part: `add(first, rows, a, b)` adds pixels to the fp32 sums a and b, `at_once` of them at
// most. sums: [2*channels].
template <class Add>
void SumPart(int64_t first, int64_t pixels, int64_t channels, double* sums, Add&& add, int64_t at_once = kFloatRows) {
  std::vector<float> part(static_cast<size_t>(2 * channels));
  for (int64_t done = 0; done < pixels; done += at_once) {
    std::fill(part.begin(), part.end(), 0.0f);
    add(first + done, std::min(at_once, pixels - done), part.data(), part.data() + channels);
    for (int64_t i = 0; i < 2 * channels; ++i) sums[i] += static_cast<double>(part[static_cast<size_t>(i)]);
  }
}

}  // namespace genview
