#include "genview/pretrain/weight_tally.h"

#include "genview/base/text.h"

namespace genview {
namespace {

Json SumToJson(const SummedWeights& weights) {
  return {{"pairs", weights.pairs}, {"mean", weights.Mean()}, {"sum", weights.sum}};
}

SummedWeights SumFromJson(const Json& parent, const std::string& name, std::string_view where) {
  const Json json = parent.value(name, Json::object());
  return {JsonDouble(json, "sum", 0, where), JsonInt(json, "pairs", 0, where)};
}

}  // namespace

Tensor LevelsOfPairs(const PairBatch& batch, const ImageSource& source, const GeneratedViews& views) {
  std::vector<int64_t> levels(batch.indices.size(), -1);
  for (size_t i = 0; i < levels.size(); ++i) {
    const int64_t k = batch.generated_view[i];
    if (k >= 0)
      levels[i] = views.rows()[static_cast<size_t>(views.RowOf(source.item(batch.indices[i]).id, k))].noise_level;
  }
  return at::tensor(levels, at::kLong);
}

void WeightTally::Add(const Tensor& weights, const Tensor& levels) {
  ExpectShape(weights, {levels.size(0)}, "weights");
  const Tensor values = weights.to(at::kCPU, at::kDouble).contiguous(),
               kinds = levels.to(at::kCPU, at::kLong).contiguous();
  for (int64_t i = 0; i < levels.size(0); ++i) {
    const int64_t level = kinds.const_data_ptr<int64_t>()[i];
    SummedWeights& kind = level < 0 ? augmented_ : by_level_[level];
    kind.sum += values.const_data_ptr<double>()[i];
    ++kind.pairs;
  }
}

SummedWeights WeightTally::generated() const {
  SummedWeights all;
  for (const auto& [level, weights] : by_level_) {
    all.sum += weights.sum;
    all.pairs += weights.pairs;
  }
  return all;
}

Json WeightTally::ToJson() const {
  Json json = Json::object();
  if (augmented_.pairs > 0) json["augmented"] = SumToJson(augmented_);
  if (by_level_.empty()) return json;
  json["generated"] = SumToJson(generated());
  for (const auto& [level, weights] : by_level_) json["levels"][std::to_string(level)] = SumToJson(weights);
  return json;
}

WeightTally WeightTally::FromJson(const Json& json, std::string_view where) {
  WeightTally tally;
  if (!json.is_object()) return tally;
  tally.augmented_ = SumFromJson(json, "augmented", where);
  const Json levels = json.value("levels", Json::object());
  if (!levels.is_object()) return tally;
  for (const auto& [name, ignored] : levels.items()) {
    int64_t level = 0;
    if (!ParseInt(name, level)) continue;
    tally.by_level_[level] = SumFromJson(levels, name, where);
  }
  return tally;
}

}  // namespace genview
