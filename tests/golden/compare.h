// For tests that compare with what another library computed. A failure prints the largest difference, its place and
// both values.
//
//   const WeightMap golden = Golden("models/resnet18");
//   EXPECT_CLOSE(out.pooled, golden.At("pooled"), 1e-4);
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "genview/base/json.h"
#include "genview/base/text.h"
#include "genview/tensor/safetensors.h"
#include "tests/source_dir.h"

namespace genview {

inline WeightMap Golden(const std::string& name) {
  return ReadSafetensors(SourceDir() / "tests" / "golden" / (name + ".safetensors"));
}

// |actual - expected| <= tolerance * (|expected| + the root mean square of all expected values).
inline testing::AssertionResult Close(const char*, const char* name, const char*, const Tensor& actual,
                                      const Tensor& expected, double tolerance) {
  if (actual.sizes() != expected.sizes()) {
    return testing::AssertionFailure() << Format("{} has shape [{}], wanted is [{}]", name,
                                                 fmt::join(actual.sizes(), ","), fmt::join(expected.sizes(), ","));
  }
  if (actual.numel() == 0) return testing::AssertionSuccess();
  const Tensor a = actual.detach().to(at::kCPU, at::kDouble).contiguous().flatten();
  const Tensor e = expected.detach().to(at::kCPU, at::kDouble).contiguous().flatten();
  const Tensor allowed = (e.abs() + e.square().mean().sqrt()) * tolerance;
  const Tensor excess = (a - e).abs() - allowed;
  if (at::isfinite(a).all().item<bool>() && excess.max().item<double>() <= 0) return testing::AssertionSuccess();
  const int64_t worst = at::nan_to_num(excess, INFINITY).argmax().item<int64_t>();
  std::vector<int64_t> index;
  for (int64_t rest = worst, d = expected.dim() - 1; d >= 0; --d) {
    index.insert(index.begin(), rest % expected.size(d));
    rest /= expected.size(d);
  }
  return testing::AssertionFailure() << Format("{} differs most at [{}]: {} instead of {} (allowed {})", name,
                                               fmt::join(index, ","), a[worst].item<double>(), e[worst].item<double>(),
                                               allowed[worst].item<double>());
}

// |actual - expected| <= tolerance * the largest of all expected values, whose name and place are told.
inline void ExpectClose(const Tensor& actual, const Tensor& expected, double tolerance, const std::string& name) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << name;
  const Tensor a = actual.to(at::kDouble).flatten(), e = expected.to(at::kDouble).flatten();
  const Tensor difference = (a - e).abs();
  const int64_t worst = difference.argmax().item<int64_t>();
  EXPECT_LE(difference[worst].item<double>(), tolerance * e.abs().max().item<double>())
      << name << ": element " << worst << " is " << a[worst].item<double>() << ", wanted " << e[worst].item<double>();
}

}  // namespace genview

#define EXPECT_CLOSE(actual, expected, tolerance) EXPECT_PRED_FORMAT3(::genview::Close, actual, expected, tolerance)
