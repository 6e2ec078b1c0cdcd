#include "genview/tensor/weights.h"

#include <algorithm>
#include <set>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/tensor/finite.h"
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

std::string FingerprintTensors(const std::vector<std::pair<std::string, Tensor>>& tensors) {
  std::string all;
  for (const auto& [name, tensor] : tensors) {
    const Tensor flat = tensor.detach().to(at::kCPU).contiguous();
    all += Format("{}:{:016x};", name, Hash64({static_cast<const char*>(flat.data_ptr()), flat.nbytes()}));
  }
  return Fingerprint(all);
}

// Takes no memory, whatever size a hostile config asks for; Finish throws before anyone computes with it.
Tensor WeightReader::Absent(at::IntArrayRef shape) const {
  return KeepsContents(reads_) ? at::zeros({}, at::kFloat).expand(shape)
                               : at::empty(shape, at::TensorOptions(at::kFloat).device(at::kMeta));
}

Tensor WeightReader::Take(const std::string& name, at::IntArrayRef shape) {
  return Read(name, shape, false, at::MemoryFormat::Contiguous);
}

Tensor WeightReader::TakeMatrix(const std::string& name, at::IntArrayRef shape, at::MemoryFormat order) {
  return Read(name, shape, true, order);
}

at::ScalarType WeightReader::TypeInMemory(at::ScalarType stored, bool matrix) const {
  if (matrix && reads_ == Reads::kInBf16) return at::kBFloat16;
  const bool in_16_bits = stored == at::kHalf || stored == at::kBFloat16;
  return matrix && reads_ == Reads::kAsStored && in_16_bits ? stored : at::kFloat;
}

Tensor WeightReader::Read(const std::string& name, at::IntArrayRef shape, bool matrix, at::MemoryFormat order) {
  used_.push_back(name);
  const auto found = weights_.tensors().find(name);
  if (found == weights_.tensors().end()) {
    wrong_.push_back(Format("{}: missing, wanted [{}]", name, fmt::join(shape, ",")));
    return Absent(shape);
  }
  const Tensor& stored = found->second;
  if (stored.sizes() != shape) {
    wrong_.push_back(Format("{}: has [{}], wanted [{}]", name, fmt::join(stored.sizes(), ","), fmt::join(shape, ",")));
    return Absent(shape);
  }
  const at::ScalarType type = stored.scalar_type();
  const bool floating = at::isFloatingType(type);
  if (!floating && !shape.empty()) {  // quantised, for example: without their scales these are other numbers
    wrong_.push_back(Format("{}: stored as {}, wanted are floating-point numbers", name, at::toString(type)));
    return Absent(shape);
  }
  if (reads_ == Reads::kNames) return Absent(shape);
  if (!floating) return KeepsContents(reads_) ? stored.clone() : Absent(shape);
  PrefetchMapped(stored);
  Tensor tensor = KeepsContents(reads_)
                      ? at::empty(shape, at::TensorOptions(TypeInMemory(type, matrix)).memory_format(order))
                      : Absent(shape);
  const bool finite = KeepsContents(reads_) ? CopyFinite(tensor, stored) : AllFinite(stored);
  if (!finite) wrong_.push_back(Format("{}: holds NaN or infinity", name));
  ReleaseMapped(stored);
  return tensor;
}

void WeightReader::Finish(const std::vector<std::string>& tolerated) {
  const std::set<std::string> used(used_.begin(), used_.end());
  for (const auto& [name, tensor] : weights_.tensors()) {
    if (used.count(name) != 0) continue;
    const bool known =
        std::any_of(tolerated.begin(), tolerated.end(), [&key = name](const auto& p) { return key.starts_with(p); });
    if (!known) wrong_.push_back(Format("{}: not part of this model", name));
  }
  if (wrong_.empty()) return;
  constexpr size_t kShown = 10;
  const size_t count = wrong_.size();
  if (count > kShown) wrong_.resize(kShown);
  throw Error({.what = Format("{} tensor{} do{} not fit the model: {}{}", count, count == 1 ? "" : "s",
                              count == 1 ? "es" : "", fmt::join(wrong_, "; "), count > kShown ? "; ..." : ""),
               .where = weights_.where(),
               .next = "check that weights and config belong together; `genview inspect` lists what the file holds"});
}

}  // namespace genview
