#include "genview/foreground/token_statistics.h"

#include <cmath>

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {
namespace {

// Which places of the grid belong to the middle half of both sides, and which to the outermost ring. [T] bool each.
std::pair<Tensor, Tensor> CentreAndBorder(int64_t grid) {
  const Tensor offset = (at::arange(grid, at::kDouble) - static_cast<double>(grid - 1) / 2).abs();
  const Tensor middle = offset <= static_cast<double>(grid) / 4, outer = offset == offset.max();
  return {at::logical_and(middle.unsqueeze(1), middle.unsqueeze(0)).flatten(),
          at::logical_or(outer.unsqueeze(1), outer.unsqueeze(0)).flatten()};
}

}  // namespace

TokenStatistics::TokenStatistics(int64_t grid, int64_t width) : grid_(grid), width_(width) {}

void TokenStatistics::Add(const Tensor& tokens) {
  ExpectShape(tokens, {-1, grid_ * grid_, width_}, "tokens");
  if (tokens.size(0) == 0) return;
  const Tensor x = tokens.to(at::kDouble).reshape({-1, width_});  // [R,C]
  if (!mean_.defined()) {
    mean_ = at::zeros({width_}, x.options());
    moment_ = at::zeros({width_, width_}, x.options());
    place_sums_ = at::zeros({grid_ * grid_, width_}, x.options());
  }
  const auto before = static_cast<double>(rows()), added = static_cast<double>(x.size(0)), all = before + added;
  const Tensor mean = x.mean(0), centred = x - mean, delta = mean - mean_;
  moment_.addmm_(centred.t(), centred);
  moment_.addr_(delta, delta, 1, before * added / all);
  mean_ += delta * (added / all);
  place_sums_ += tokens.to(at::kDouble).sum(0);
  images_ += tokens.size(0);
}

std::vector<std::pair<std::string, Tensor>> TokenStatistics::State() const {
  if (images_ == 0) return {};
  return {{"mean", mean_}, {"moment", moment_}, {"place_sums", place_sums_}};
}

bool TokenStatistics::Load(const WeightMap& state, int64_t images, at::Device device) {
  const auto fits = [&](const char* name, const std::vector<int64_t>& shape) {
    return state.Has(name) && state.At(name).scalar_type() == at::kDouble && state.At(name).sizes().vec() == shape;
  };
  const auto own = [&](const char* name) {
    return state.At(name).to(device, at::kDouble, /*non_blocking=*/false, /*copy=*/true);
  };
  if (images == 0 && !state.Has("mean")) {
    *this = TokenStatistics(grid_, width_);
    return true;
  }
  if (images <= 0 || !fits("mean", {width_}) || !fits("moment", {width_, width_}) ||
      !fits("place_sums", {grid_ * grid_, width_}))
    return false;
  mean_ = own("mean");
  moment_ = own("moment");
  place_sums_ = own("place_sums");
  images_ = images;
  return true;
}

Tensor TokenStatistics::mean() const { return mean_; }
Tensor TokenStatistics::covariance() const { return moment_ / static_cast<double>(rows() - 1); }
Tensor TokenStatistics::place_means() const { return place_sums_ / static_cast<double>(images_); }

PrincipalComponent FirstComponent(const TokenStatistics& statistics) {
  if (statistics.rows() < 2) {
    throw Error({.what = Format("{} tokens are too few for a principal component", statistics.rows()),
                 .where = "foreground fit",
                 .next = "give more images, or check skipped.tsv for why they could not be read"});
  }
  const Tensor covariance = statistics.covariance().to(at::kCPU);
  if (!at::isfinite(covariance).all().item<bool>()) {
    throw Error({.what = "the encoder's tokens hold NaN or infinity",
                 .where = "foreground fit",
                 .next = "check the encoder; `--precision fp32` rules out overflow"});
  }
  const auto [values, vectors] = at::linalg_eigh(covariance);  // ascending
  Tensor v = vectors.select(1, statistics.width() - 1).contiguous();
  const double variance = std::max(values[-1].item<double>(), 0.0), total = covariance.diagonal().sum().item<double>();

  double margin = CentreMargin(at::mv(statistics.place_means().to(at::kCPU), v), statistics.grid());
  // Without a centre to go by: the largest entry is positive, so that the result is at least always the same.
  const bool flip = margin != 0 ? margin < 0 : v[v.abs().argmax()].item<double>() < 0;
  if (flip) v = -v;
  return {.component = v.to(at::kFloat),
          .mean = statistics.mean().to(at::kCPU, at::kFloat),
          .variance_share = total > 0 ? variance / total : 0,
          .margin = variance > 0 ? std::abs(margin) / std::sqrt(variance) : 0};
}

double CentreMargin(const Tensor& place_scores, int64_t grid) {
  if (grid < 3) return 0;
  const auto [centre, border] = CentreAndBorder(grid);
  return (place_scores.masked_select(centre).mean() - place_scores.masked_select(border).mean()).item<double>();
}

}  // namespace genview
