// The scores of a run's arms: one record per arm and score, with an interval that says how sure it is.
//
//   const auto scores = CollectScores(run, {"baseline", "genview"}, {0});   // from ARM/eval/*.json
//   WriteJson("scores.json", ScoresToJson(scores));
//   Difference gain = Compare(scores[2], scores[0]);
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "genview/base/json.h"
#include "genview/records/mean_interval.h"

namespace genview {

struct SeedScore {
  uint64_t seed = 0;
  double value = 0, low = 0, high = 0;  // percent
};

struct ArmScore {
  std::string arm;
  std::string eval;   // "linear", "knn", ...
  std::string score;  // "top1", "top5"
  // One seed: its value and interval. Several: their mean and the t interval of the mean; where all have the same
  // value, the first one's interval.
  double value = 0, low = 0, high = 0;
  std::string interval;  // "95% Wilson over images", "95% t over draws", "95% t over seeds"
  std::vector<SeedScore> seeds;
  int64_t images = 0, classes = 0;
  std::string checkpoint;  // fingerprint of the first seed's
  std::string test{};      // of the test pictures; "" of a score by a version that did not keep it
  int64_t draws = 0;       // that each seed's score is the mean of, with its interval; 0: it is a count of pictures
};

// The kinds of scores in the order they are shown, and as people say them.
inline constexpr std::pair<const char*, const char*> kEvals[] = {
    {"linear", "linear"}, {"knn", "kNN"}, {"fewshot", "few-shot"}, {"finetune", "fine-tuning"}};

// In the order of `arms`, then of kEvals; top1 before top5. Arms without scores are left out,
// and so are scores of another encoder than the one that pretrain/summary.json names: of an earlier training. With
// several seeds the scores are those of ARM/seed-S, otherwise of ARM itself.
std::vector<ArmScore> CollectScores(const Path& run, const std::vector<std::string>& arms,
                                    const std::vector<uint64_t>& seeds);

std::string EvalName(const std::string& eval);  // "kNN", as people say it

Json ScoresToJson(const std::vector<ArmScore>& scores);

struct Difference {
  double value = 0, low = 0, high = 0;  // percentage points
  std::vector<uint64_t> seeds;          // that both arms have; what others score does not count
  bool paired = false;                  // the interval is of the differences in these seeds
  bool Clear() const { return low > 0 || high < 0; }
};
// Of two arms' same score. Several seeds that both have are paired (t interval), unless all differ by the same, which
// few seeds and few test images do by chance. Otherwise two intervals are joined (Newcombe 1998, method 10), those of
// the first common seed or, without one, of the arms as they are shown; that errs on the wide side since both arms saw
// the same test images. `confidence`: how sure the interval is to be, which is more than 95% where it is one of several
// that a statement picks from.
Difference Compare(const ArmScore& arm, const ArmScore& baseline, double confidence = kConfidence);

// The folder of one arm and seed, which holds `pretrain` and `eval`, and what a stage of theirs is called. `several`:
// whether the run has several seeds.
Path SeedFolder(const Path& run, const std::string& arm, bool several, uint64_t seed);
std::string SeedStage(std::string_view stage, const std::string& arm, bool several, uint64_t seed);

}  // namespace genview
