#include "genview/views/noise_levels.h"

#include <algorithm>
#include <cmath>

#include "genview/records/records.h"

namespace genview {
namespace {

// The last `parts` parts of a path; "" when it has fewer.
std::string EndOf(const std::string& path, int64_t parts) {
  size_t at = path.size();
  for (int64_t i = 0; i < parts; ++i) {
    if (at == 0) return "";
    at = path.rfind('/', at - 1);
    if (at == std::string::npos) return i + 1 == parts ? path : "";
  }
  return path.substr(at + 1);
}

NoisePolicy PolicyOf(const ViewsConfig& c) {
  const bool level = c.noise_level >= 0, table = !c.ratios.empty();
  const auto fail = [](const char* what, const char* next) {
    throw UsageError({.what = what, .where = "policy, ratios, noise_level", .next = next});
  };
  if (c.policy == NoisePolicy::kAdaptive) {
    if (level && table) fail("both a table of ratios and one noise level are given", "give one of them");
    if (level) return NoisePolicy::kConstant;
    if (!table)
      fail("the adaptive policy needs foreground ratios",
           "give --ratios FILE (from `genview foreground score`), --noise-level N or --policy random");
  }
  if (c.policy == NoisePolicy::kRandom && level)
    fail("a random policy and one noise level are given", "give one of them");
  return c.policy;
}

}  // namespace

int64_t NoiseLevelOnCurve(double ratio, const std::vector<int64_t>& levels, double curve) {
  const auto [low, high] = std::minmax_element(levels.begin(), levels.end());
  return *low + std::llround(static_cast<double>(*high - *low) * std::pow(std::clamp(ratio, 0.0, 1.0), curve));
}

NoiseLevels NoiseLevels::Open(const ViewsConfig& c) {
  NoiseLevels result;
  result.policy_ = PolicyOf(c);
  result.seed_ = Seed(c.run.seed).With("noise level");
  result.levels_ = c.levels.empty() ? kUsualLevels : c.levels;
  if (result.policy_ == NoisePolicy::kConstant) result.levels_ = {std::max<int64_t>(c.noise_level, 0)};
  result.highest_ = *std::max_element(result.levels_.begin(), result.levels_.end());
  if (result.policy_ != NoisePolicy::kAdaptive) return result;
  for (const ForegroundRow& row : ReadForegroundTable(c.ratios)) {
    // The table's own levels stand, unless others are asked for here.
    const int64_t stepped = c.levels.empty() ? row.noise_level : NoiseLevelFor(row.ratio, c.levels);
    const int64_t level = c.curve > 0 ? NoiseLevelOnCurve(row.ratio, result.levels_, c.curve) : stepped;
    result.highest_ = std::max(result.highest_, level);
    result.table_.emplace(row.id, level);
    if (row.path != row.id) result.table_.emplace(row.path, level);
  }
  return result;
}

const int64_t* NoiseLevels::FindByEnd(const std::string& id) const {
  const int64_t parts = 1 + std::count(id.begin(), id.end(), '/');
  auto known = ends_.find(parts);
  if (known == ends_.end()) {
    known = ends_.emplace(parts, std::unordered_map<std::string, int64_t>()).first;
    for (const auto& [path, level] : table_) {
      const std::string end = EndOf(path, parts);
      if (end.empty()) continue;
      const auto [place, is_new] = known->second.emplace(end, level);
      if (!is_new && place->second != level) place->second = -1;
    }
  }
  const auto found = known->second.find(id);
  return found == known->second.end() || found->second < 0 ? nullptr : &found->second;
}

std::optional<int64_t> NoiseLevels::For(const SourceItem& item, int64_t k) const {
  if (policy_ == NoisePolicy::kConstant) return levels_[0];
  if (policy_ == NoisePolicy::kRandom) {
    Random random(seed_.With(item.id).With(static_cast<uint64_t>(k)));
    return levels_[static_cast<size_t>(random.Below(static_cast<int64_t>(levels_.size())))];
  }
  for (const std::string& name : {item.id, item.path}) {
    const auto found = table_.find(name);
    if (found != table_.end()) return found->second;
  }
  const int64_t* found = FindByEnd(item.id);
  return found == nullptr ? std::nullopt : std::optional(*found);
}

void CheckLevels(const NoiseLevels& levels, const UnclipPipeline& pipeline) {
  if (levels.highest() < pipeline.levels()) return;
  throw UsageError({.what = Format("noise level {} is asked for, the generator has 0 to {}", levels.highest(),
                                   pipeline.levels() - 1),
                    .where = "noise_level, levels, ratios",
                    .next = "ask for a level that the generator has"});
}

}  // namespace genview
