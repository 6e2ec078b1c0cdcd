// Comparing with what a library of others computed (tests/golden/<part>/*.safetensors, made by tests/golden/make_<part>.py).
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "genview/base/text.h"
#include "genview/tensor/safetensors.h"

namespace genview {

inline WeightMap ReadGolden(const std::string& name) { return ReadSafetensors(Path(GENVIEW_SOURCE_DIR) / "tests/golden" / name); }

// |actual - expected| <= tolerance * max|expected| everywhere; on failure the largest difference, its place, both values.
inline void ExpectClose(const Tensor& actual, const Tensor& expected, double tolerance, const std::string& what) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  const Tensor a = actual.detach().to(at::kDouble).flatten(), b = expected.detach().to(at::kDouble).flatten();
  if (a.numel() == 0) return;
  const Tensor difference = (a - b).abs();
  const auto place = difference.argmax().item<int64_t>();
  const double largest = difference[place].item<double>(), scale = b.abs().max().item<double>();
  EXPECT_TRUE(largest <= tolerance * scale) << Format("{}: largest difference {:.3g} (scale {:.3g}) at flat index {}: {} and {}",
                                                      what, largest, scale, place, a[place].item<double>(),
                                                      b[place].item<double>());
}

}  // namespace genview
