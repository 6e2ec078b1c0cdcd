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
    if (level && table) {
      fail("both a table of ratios and one noise level are given",
           "give one of them; --policy constant takes guidance and prompts alone out of the table");
    }
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

std::string PromptOf(std::string prompt, const SourceItem& item, const std::vector<std::string>& classes) {
  if (item.label < 0) return prompt;
  const std::string& name = classes[static_cast<size_t>(item.label)];
  for (size_t at = prompt.find(kClassMark); at != std::string::npos; at = prompt.find(kClassMark, at + name.size()))
    prompt.replace(at, kClassMark.size(), name);
  return prompt;
}

int64_t NoiseLevelOnCurve(double ratio, const std::vector<int64_t>& levels, double curve) {
  const auto [low, high] = std::minmax_element(levels.begin(), levels.end());
  return *low + std::llround(static_cast<double>(*high - *low) * std::pow(std::clamp(ratio, 0.0, 1.0), curve));
}

NoiseLevels NoiseLevels::Open(const ViewsConfig& c) {
  NoiseLevels result;
  result.policy_ = PolicyOf(c);
  result.seed_ = Seed(c.run.seed).With("noise level");
  result.guidance_ = c.guidance;
  result.prompt_ = c.prompt;
  result.levels_ = c.levels.empty() ? kUsualLevels : c.levels;
  if (result.policy_ == NoisePolicy::kConstant) result.levels_ = {std::max<int64_t>(c.noise_level, 0)};
  result.highest_ = *std::max_element(result.levels_.begin(), result.levels_.end());
  if (c.ratios.empty()) return result;
  // The table's own levels stand, unless others are asked for here; under another policy it says nothing of levels.
  const auto level_of = [&](const ForegroundRow& row) -> int64_t {
    if (result.policy_ != NoisePolicy::kAdaptive) return 0;
    if (c.curve > 0) return NoiseLevelOnCurve(row.ratio, result.levels_, c.curve);
    return c.levels.empty() ? row.noise_level : NoiseLevelFor(row.ratio, c.levels);
  };
  for (const ForegroundRow& row : ReadForegroundTable(c.ratios)) {
    const PictureChoice choice{level_of(row), row.guidance, row.prompt};
    result.highest_ = std::max(result.highest_, choice.level);
    result.table_.emplace(row.id, choice);
    if (row.path != row.id) result.table_.emplace(row.path, choice);
  }
  return result;
}

const PictureChoice* NoiseLevels::FindByEnd(const std::string& id) const {
  const int64_t parts = 1 + std::count(id.begin(), id.end(), '/');
  auto known = ends_.find(parts);
  if (known == ends_.end()) {
    known = ends_.emplace(parts, std::unordered_map<std::string, const PictureChoice*>()).first;
    for (const auto& [path, choice] : table_) {
      const std::string end = EndOf(path, parts);
      if (end.empty()) continue;
      const auto [place, is_new] = known->second.emplace(end, &choice);
      if (!is_new && place->second != nullptr && *place->second != choice) place->second = nullptr;
    }
  }
  const auto found = known->second.find(id);
  return found == known->second.end() ? nullptr : found->second;
}

const PictureChoice* NoiseLevels::ChoiceFor(const SourceItem& item) const {
  if (table_.empty()) return nullptr;
  for (const std::string& name : {item.id, item.path}) {
    const auto found = table_.find(name);
    if (found != table_.end()) return &found->second;
  }
  return FindByEnd(item.id);
}

std::optional<int64_t> NoiseLevels::For(const SourceItem& item, int64_t k) const {
  if (policy_ == NoisePolicy::kConstant) return levels_[0];
  if (policy_ == NoisePolicy::kRandom) {
    Random random(seed_.With(item.id).With(static_cast<uint64_t>(k)));
    return levels_[static_cast<size_t>(random.Below(static_cast<int64_t>(levels_.size())))];
  }
  const PictureChoice* choice = ChoiceFor(item);
  return choice == nullptr ? std::nullopt : std::optional(choice->level);
}

double NoiseLevels::GuidanceFor(const SourceItem& item) const {
  const PictureChoice* choice = ChoiceFor(item);
  return choice == nullptr ? guidance_ : choice->guidance.value_or(guidance_);
}

std::string NoiseLevels::PromptFor(const SourceItem& item, const std::vector<std::string>& classes) const {
  const PictureChoice* choice = ChoiceFor(item);
  return PromptOf(choice == nullptr ? prompt_ : choice->prompt.value_or(prompt_), item, classes);
}

void CheckLevels(const NoiseLevels& levels, const UnclipPipeline& pipeline) {
  if (levels.highest() < pipeline.levels()) return;
  throw UsageError({.what = Format("noise level {} is asked for, the generator has 0 to {}", levels.highest(),
                                   pipeline.levels() - 1),
                    .where = "noise_level, levels, ratios",
                    .next = "ask for a level that the generator has"});
}

}  // namespace genview
