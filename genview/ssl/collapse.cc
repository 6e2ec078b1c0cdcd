#include "genview/ssl/collapse.h"

#include <cmath>

#include <c10/core/GradMode.h>

#include "genview/ssl/losses.h"

namespace genview {

FeatureSpread MeasureSpread(const Tensor& features) {
  ExpectShape(features, {-1, -1}, "features");
  const c10::AutoGradMode no_grad(false);
  FeatureSpread spread{.rows = features.size(0)};
  if (features.size(0) < 2) return spread;
  const Tensor rows = UnitRows(features.detach().cpu());
  spread.std = at::std(rows, at::IntArrayRef{0}).mean().item<double>();
  spread.relative_std = spread.std * std::sqrt(static_cast<double>(rows.size(1)));
  // Effective rank: O. Roy, M. Vetterli, "The effective rank", EUSIPCO 2007.
  const Tensor values = at::linalg_svdvals(rows - rows.mean(at::IntArrayRef{0}, /*keepdim=*/true)).to(at::kDouble);
  const double total = values.sum().item<double>();
  if (total < 1e-6) return spread;
  const Tensor share = values / total;
  spread.effective_rank = std::exp(-at::xlogy(share, share).sum().item<double>());
  return spread;
}

}  // namespace genview
