#include "genview/train/running_statistics.h"

#include <c10/core/GradMode.h>

#include "genview/base/error.h"
#include "genview/models/blocks.h"

namespace genview {
namespace {

// mean, variance, mean, variance, ...
std::vector<Tensor> Interleaved(const WeightList& means, const WeightList& variances) {
  std::vector<Tensor> values;
  for (size_t i = 0; i < means.size(); ++i) {
    values.push_back(*means[i].tensor);
    values.push_back(*variances[i].tensor);
  }
  return values;
}

std::vector<Tensor> TensorsOf(const WeightList& list) {
  std::vector<Tensor> tensors;
  for (const WeightRef& ref : list) tensors.push_back(*ref.tensor);
  return tensors;
}

}  // namespace

RunningStatistics::RunningStatistics(const WeightList& weights) {
  std::vector<int64_t> widths;
  for (const WeightRef& ref : weights) {
    if (ref.role != WeightRole::kBuffer) continue;
    if (ref.name.ends_with("running_mean")) {
      means_.push_back(ref);
      widths.push_back(2 * ref.tensor->numel());
    }
    if (ref.name.ends_with("running_var")) variances_.push_back(ref);
    if (ref.name.ends_with("num_batches_tracked")) counts_.push_back(ref);
  }
  GENVIEW_CHECK(means_.size() == variances_.size() && means_.size() == counts_.size(),
                "a norm keeps mean, variance and count");
  if (!means_.empty()) widths_ = at::tensor(widths, at::kLong).to(means_[0].tensor->device());
}

void RunningStatistics::BeginPart() {
  if (means_.empty()) return;
  const c10::AutoGradMode no_grad(false);
  std::vector<Tensor> all = Interleaved(means_, variances_);
  for (const Tensor& count : TensorsOf(counts_)) all.push_back(count);
  if (before_.empty()) {
    for (const Tensor& tensor : all) before_.push_back(tensor.clone());
  }
  for (Tensor& tensor : all) tensor.zero_();
}

Tensor RunningStatistics::EndPart() const {
  if (means_.empty()) return at::empty({0});
  const c10::AutoGradMode no_grad(false);
  std::vector<Tensor> all = Interleaved(means_, variances_);
  all.push_back(at::stack(TensorsOf(counts_)).to(at::kFloat));
  return at::cat(all);
}

void RunningStatistics::Apply(const std::vector<Tensor>& parts) {
  if (means_.empty()) return;
  GENVIEW_CHECK(!before_.empty(), "Apply without a part");
  const c10::AutoGradMode no_grad(false);
  std::vector<Tensor> values = Interleaved(means_, variances_), counts = TensorsOf(counts_);
  const auto norms = static_cast<int64_t>(counts.size());
  const auto middle = before_.begin() + static_cast<std::ptrdiff_t>(values.size());
  Tensor all = at::cat(std::vector<Tensor>(before_.begin(), middle));     // [S - norms]
  Tensor passed = at::stack(std::vector<Tensor>(middle, before_.end()));  // [norms]
  for (const Tensor& part : parts) {
    const Tensor passes = part.narrow(0, all.size(0), norms);
    const Tensor kept = at::pow(1 - kBatchNormMomentum, passes.to(at::kDouble)).to(at::kFloat);
    all = all * kept.repeat_interleave(widths_) + part.narrow(0, 0, all.size(0));
    passed = passed + passes.to(at::kLong);
  }
  int64_t place = 0;
  for (Tensor& value : values) {
    value.copy_(all.narrow(0, place, value.numel()).view_as(value));
    place += value.numel();
  }
  for (int64_t i = 0; i < norms; ++i) counts[static_cast<size_t>(i)].copy_(passed[i]);
  before_.clear();
}

}  // namespace genview
