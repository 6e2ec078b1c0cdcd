#include "genview/foreground/threshold.h"

#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "genview/base/error.h"

namespace genview {
namespace {

std::vector<float> CheckedScores(const Tensor& scores) {
  const Tensor flat = scores.to(at::kCPU, at::kFloat).contiguous().flatten();
  if (flat.numel() == 0 || !at::isfinite(flat).all().item<bool>()) {
    throw Error({.what = flat.numel() == 0 ? "there are no tokens to choose a threshold from"
                                           : "the encoder's tokens hold NaN or infinity",
                 .where = "foreground threshold",
                 .next = "check the images and the encoder; `--precision fp32` rules out overflow"});
  }
  const float* data = flat.data_ptr<float>();
  return std::vector<float>(data, data + flat.numel());
}

}  // namespace

Tensor TokenScores(const Tensor& tokens, const Tensor& component) {
  ExpectShape(tokens, {-1, -1, component.size(0)}, "tokens");
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  return at::matmul(tokens.to(at::kFloat), component.to(tokens.device(), at::kFloat));
}

double ThresholdByShare(const Tensor& scores, double share) {
  std::vector<float> s = CheckedScores(scores);
  const auto total = static_cast<double>(s.size());
  const auto above = static_cast<size_t>(std::llround(std::clamp(share, 0.0, 1.0) * total));
  if (above == 0 || above == s.size()) {
    const auto [least, greatest] = std::minmax_element(s.begin(), s.end());
    // There is no other score on one side: half the mean distance between two of them is left.
    const double room = (static_cast<double>(*greatest) - *least) / (2 * total);
    if (above == 0) return static_cast<float>(*greatest + room);
    return std::min(static_cast<float>(*least - room), std::nextafter(*least, -INFINITY));
  }
  const auto first_above = s.begin() + static_cast<int64_t>(s.size() - above);
  std::nth_element(s.begin(), first_above, s.end());
  const float low = *std::max_element(s.begin(), first_above), high = *first_above;
  const double middle = (static_cast<double>(low) + static_cast<double>(high)) / 2;
  return static_cast<float>(middle) < high ? static_cast<float>(middle) : low;
}

double ThresholdByHistogram(const Tensor& scores, double share) {
  constexpr int kBins = 200;
  const std::vector<float> s = CheckedScores(scores);
  const auto [least, greatest] = std::minmax_element(s.begin(), s.end());
  const double low = *least, width = (static_cast<double>(*greatest) - low) / kBins;
  if (width == 0) return low;
  const auto edge = [&](int k) { return low + width * k; };
  std::vector<int64_t> counts(kBins);
  for (const float value : s) {
    int k = std::clamp(static_cast<int>((value - low) / width), 0, kBins - 1);
    if (value < edge(k)) --k;  // rounding of the division
    else if (k + 1 < kBins && value >= edge(k + 1)) ++k;
    ++counts[static_cast<size_t>(std::max(k, 0))];
  }
  int64_t running = 0;
  for (int k = 0; k < kBins; ++k) {
    running += counts[static_cast<size_t>(k)];
    if (static_cast<double>(running) / static_cast<double>(s.size()) < 1 - share) continue;
    while (k + 1 < kBins && counts[static_cast<size_t>(k + 1)] == 0) ++k;
    return edge(k);
  }
  return edge(kBins - 1);
}

}  // namespace genview
