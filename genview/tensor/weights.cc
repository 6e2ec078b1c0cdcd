#include "genview/tensor/weights.h"

#include <algorithm>
#include <set>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/tensor/mapped_tensor.h"

namespace genview {

const Tensor& WeightMap::At(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    std::vector<std::string> names;
    for (const auto& [known, tensor] : tensors_) names.push_back(known);
    throw Error({.what = Format("no tensor `{}`", name),
                 .where = where_,
                 .next = names.size() > 20 ? "`genview inspect` lists what the file holds" : SuggestName(name, names)});
  }
  return found->second;
}

std::string WeightMap::Metadata(const std::string& key, const std::string& fallback) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? fallback : found->second;
}

void WeightMap::Merge(const WeightMap& other) {
  for (const auto& [name, tensor] : other.tensors_) {
    if (!tensors_.emplace(name, tensor).second) {
      throw Error({.what = Format("tensor `{}` is in two files", name),
                   .where = Format("{} and {}", where_, other.where_),
                   .next = "remove the file that does not belong to this model"});
    }
  }
  metadata_.insert(other.metadata_.begin(), other.metadata_.end());
  owners_.insert(owners_.end(), other.owners_.begin(), other.owners_.end());
  if (where_.empty()) where_ = other.where_;
}

WeightMap WeightMap::WithPrefixRemoved(const std::string& prefix) const {
  WeightMap result(where_);
  result.metadata_ = metadata_;
  result.owners_ = owners_;
  for (auto it = tensors_.lower_bound(prefix); it != tensors_.end() && it->first.starts_with(prefix); ++it) {
    result.tensors_.emplace(it->first.substr(prefix.size()), it->second);
  }
  return result;
}

// Takes no memory, whatever size a hostile config asks for; Finish throws before anyone computes with it.
static Tensor Absent(at::IntArrayRef shape, bool names_only) {
  return names_only ? at::empty(shape, at::TensorOptions(at::kFloat).device(at::kMeta)) : at::zeros({}, at::kFloat).expand(shape);
}

Tensor WeightReader::Take(const std::string& name, at::IntArrayRef shape) {
  used_.push_back(name);
  const auto found = weights_.tensors().find(name);
  if (found == weights_.tensors().end()) {
    wrong_.push_back(Format("{}: missing, wanted [{}]", name, fmt::join(shape, ",")));
    return Absent(shape, names_only());
  }
  const Tensor& stored = found->second;
  if (stored.sizes() != shape) {
    wrong_.push_back(Format("{}: has [{}], wanted [{}]", name, fmt::join(stored.sizes(), ","), fmt::join(shape, ",")));
    return Absent(shape, names_only());
  }
  if (names_only()) return Absent(shape, true);
  if (!at::isFloatingType(stored.scalar_type())) return stored.clone();
  Tensor tensor = stored.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true, at::MemoryFormat::Contiguous);
  if (tensor.numel() > 0 && !at::isfinite(tensor.sum(at::kDouble)).item<bool>()) {
    wrong_.push_back(Format("{}: holds NaN or infinity", name));
  }
  ReleaseMapped(stored);
  return tensor;
}

void WeightReader::Finish(const std::vector<std::string>& tolerated) {
  const std::set<std::string> used(used_.begin(), used_.end());
  for (const auto& [name, tensor] : weights_.tensors()) {
    if (used.count(name) != 0) continue;
    const bool known = std::any_of(tolerated.begin(), tolerated.end(),
                                   [&key = name](const auto& p) { return key.starts_with(p); });
    if (!known) wrong_.push_back(Format("{}: not part of this model", name));
  }
  if (wrong_.empty()) return;
  constexpr size_t kShown = 10;
  const size_t count = wrong_.size();
  if (count > kShown) wrong_.resize(kShown);
  throw Error({.what = Format("{} tensor{} do{} not fit the model: {}{}", count, count == 1 ? "" : "s", count == 1 ? "es" : "",
                              fmt::join(wrong_, "; "), count > kShown ? "; ..." : ""),
               .where = weights_.where(),
               .next = "check that weights and config belong together; `genview inspect` lists what the file holds"});
}

}  // namespace genview
