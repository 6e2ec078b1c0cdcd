// How vague the condition of a view is: more foreground in a picture affords more noise (GenView, section 3.2).
//
//   NoiseLevels levels = NoiseLevels::Open(config);
//   if (const auto level = levels.For(source.item(i), k)) ...
#pragma once

#include <map>
#include <optional>
#include <unordered_map>

#include "genview/data/source.h"
#include "genview/diffusion/pipeline.h"
#include "genview/views/config.h"

namespace genview {

inline constexpr std::string_view kClassMark = "{class}";  // in a prompt

// A prompt for one picture: the name of its class stands for {class}, which stays where the class is not known.
std::string PromptOf(std::string prompt, const SourceItem& item, const std::vector<std::string>& classes);

// What a table says of a picture.
struct PictureChoice {
  int64_t level = 0;
  std::optional<double> guidance;
  std::optional<std::string> prompt;

  bool operator==(const PictureChoice&) const = default;
};

// Without steps: lowest + (highest - lowest) * ratio^curve of the levels, to the nearest whole number. 1 is a straight
// line; the larger the curve, the longer the level stays low.
int64_t NoiseLevelOnCurve(double ratio, const std::vector<int64_t>& levels, double curve);

class NoiseLevels {
 public:
  // Reads the table: levels for an adaptive policy, guidance and prompts for every one. Throws UsageError when policy,
  // table and level contradict each other.
  static NoiseLevels Open(const ViewsConfig& config);

  // The level of view k of a picture; none when an adaptive policy's table does not name the picture. A list of paths,
  // as the original tools write it, is matched from the end: "data/train/n01/a.jpg" is the picture "n01/a.jpg". Not for
  // several threads at once: such ends are looked up once and kept.
  std::optional<int64_t> For(const SourceItem& item, int64_t k) const;
  // Guidance scale and prompt (of PromptOf) of a picture's views: the table's, where it has them, else the config's.
  double GuidanceFor(const SourceItem& item) const;
  std::string PromptFor(const SourceItem& item, const std::vector<std::string>& classes) const;
  int64_t highest() const { return highest_; }  // that can be asked for
  NoisePolicy policy() const { return policy_; }

 private:
  const PictureChoice* ChoiceFor(const SourceItem& item) const;  // null where there is no table, or nothing of it there
  const PictureChoice* FindByEnd(const std::string& id) const;

  NoisePolicy policy_ = NoisePolicy::kConstant;
  Seed seed_{0};
  std::vector<int64_t> levels_;  // constant: one
  int64_t highest_ = 0;
  double guidance_ = 0;
  std::string prompt_;
  std::unordered_map<std::string, PictureChoice> table_;
  // Number of path parts -> the end of a path with that many -> what is said of it; null where two paths end alike.
  mutable std::map<int64_t, std::unordered_map<std::string, const PictureChoice*>> ends_;
};

// Throws UsageError where a level can be asked for that the generator does not have.
void CheckLevels(const NoiseLevels& levels, const UnclipPipeline& pipeline);

}  // namespace genview
