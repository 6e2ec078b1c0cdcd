// Stage: foreground ratio and noise level of every picture.
//
//   ScoreSummary done = ScoreForeground({.images = "photos/", .model = "FG.safetensors", .encoder = "models/ViT-H-14",
//                                        .out = "ratios.tsv", .masks = "masks/"}, progress);
//
// Killed at any point, the same call goes on after the last whole batch. Once `out` is there and fits what is asked
// for, nothing is done again.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "genview/base/fields.h"
#include "genview/base/progress.h"
#include "genview/dist/group.h"
#include "genview/tensor/run_options.h"

namespace genview {

enum class ForegroundSide { kAbove, kBelow };
template <>
struct EnumNames<ForegroundSide> {
  static constexpr std::pair<ForegroundSide, const char*> kNames[] = {{ForegroundSide::kAbove, "above"},
                                                                      {ForegroundSide::kBelow, "below"}};
};

struct ScoreConfig {
  std::string images;
  Path model;
  std::string threshold;                         // empty: the model's
  ForegroundSide side = ForegroundSide::kAbove;  // below: the threshold itself is foreground, too
  Path encoder;
  Path out;
  Path masks;
  Path lists;
  std::vector<int64_t> levels = {0, 100, 200, 300, 400};
  Path skipped;  // list of the bad pictures, this command's alone; empty: skipped.tsv beside `out`, shared with others
  RunOptions run;
};

template <class Visit>
void VisitFields(ScoreConfig& c, Visit&& visit) {
  visit("images", c.images, Required{}, "folder, list file, tar shards or shapes:...");
  visit("model", c.model, Required{},
        "foreground model written by `genview foreground fit`, or the original tools' pca_vectors.npy");
  visit("threshold", c.threshold, Any{},
        "score that divides foreground and background; empty = the model's; a .npy file has none");
  visit("side", c.side, Any{}, "of the threshold that is foreground: above or below (the original's gt and lt)");
  visit("encoder", c.encoder, Required{}, "the encoder that the model was fitted with");
  visit("out", c.out, Required{}, "table to write (.tsv)");
  visit("masks", c.masks, Any{}, "folder for one mask per picture, 255 = foreground, at the picture's size");
  visit("lists", c.lists, Any{}, "folder for the original tools' fg_ratios.txt and fg_ratios_LEVEL.txt");
  visit("levels", c.levels, Range<int64_t>{0, 999}, "noise levels from little to much foreground");
  visit("run", c.run, Section{}, "");
}

struct ScoreSummary {
  int64_t images = 0, skipped = 0;
  double mean_ratio = 0;
  std::map<int64_t, int64_t> per_level;  // images of each noise level
  // Against the source's own masks, where it has any:
  int64_t with_truth = 0;
  std::optional<double> truth_overlap;   // mean intersection over union
  std::optional<double> truth_spearman;  // rank correlation of the ratio with the true share; from three images on
  bool up_to_date = false;               // nothing was to be done
};

// Writes `out`, a summary of the same name with the ending .json, skipped.tsv beside it when there were bad pictures,
// and masks and lists if asked for. The processes of a group share the pictures and end with the bytes of one; only
// process 0 knows the sums.
ScoreSummary ScoreForeground(const ScoreConfig& config, Progress& progress, Group& group = Alone());

// Spearman's rank correlation, equal values sharing their mean rank; 0 where one side has one value alone. Sizes are
// equal.
double Spearman(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace genview
