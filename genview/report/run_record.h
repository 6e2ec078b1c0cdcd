// A run's folder as the report needs it. Whatever is missing is left empty: a run that is still going, or that skipped
// a stage, has a report too.
//
// Beside what every run leaves, a folder of pictures is read where it is:
//   gallery/gallery.json       {"images": [{"id", "ratio", "level", "image", "mask", "view"}],
//                               "levels": {"id", "image", "views": [{"level", "view"}]},
//                               "arm", "pairs": [{"id", "weight", "view1", "map1", "view2", "map2"}]}
//   gallery/likeness.json      {"pictures", "real_kept", "levels": [...], "bins": [{"level", "from", "to", "views", "cosine", "kept", "low", "high"}]}
// whose pictures are files of the same folder; "arm" is the one whose pairs they are.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "genview/base/json.h"
#include "genview/records/records.h"
#include "genview/report/scores.h"

namespace genview {

struct StageRecord {
  std::string name, unit;
  double seconds = 0;
  uint64_t peak_memory = 0;
  int64_t asked = 0, made = 0, failed = 0;
  std::string arm{};      // whose training or score it is; "": of the whole run, or of views that arms share
  bool training = false;  // an arm's
};

struct GalleryRow {
  std::string id;
  double ratio = 0;
  int64_t level = 0;
  Path image, mask, view;
};

struct LevelStrip {
  std::string id;
  Path image;
  std::map<int64_t, std::vector<Path>> views;  // by level, one or several
};

struct PairRow {
  std::string id;
  double weight = 0;
  Path view1, map1, view2, map2;
};

// Views of one noise level, of all images or of those in a bin of foreground ratios (see views/likeness.h).
struct LikenessRecord {
  int64_t level = 0;
  double from = 0, to = 1;
  int64_t views = 0;
  double cosine = 0;
  double kept = 0, low = 0, high = 0;  // percent whose class is the image's
};
struct LikenessTable {
  int64_t pictures = 0;
  double real_kept = -1;  // percent of the images themselves that are named rightly; -1: no classes
  std::vector<LikenessRecord> by_level, by_bin;
};

// The run's foreground masks against the source's own, where it has any.
struct ForegroundTruth {
  int64_t images = 0;
  double overlap = 0;  // mean intersection over union
  double spearman = 0;
};

// What pairs of an arm with quality weights weighed in its training; the mean of all is 1.
struct WeightRecord {
  int64_t pairs = 0;
  double mean = 0;
};
struct WeightsRecord {
  WeightRecord augmented, generated;
  std::map<int64_t, WeightRecord> levels;  // of the generated ones
};
// How weights out of kept maps rank pairs beside those of the views themselves; pairs 0: not measured.
struct AgreementRecord {
  int64_t pairs = 0;
  double spearman = 0;
};

// An arm's training of one seed.
struct TrainingRecord {
  std::string name;  // "genview", of several seeds "genview, seed 1"
  Path log;
  Path encoder{};          // where it is or will be
  bool trained = false;    // it is there
  bool collapsed = false;  // it says that the features no longer tell pictures apart
  WeightsRecord weights{};
  AgreementRecord agreement{};
};

struct ArmRecord {
  std::string name;
  std::map<std::string, std::string> settings;  // what it sets: "pretrain.pair.source", "generated"
  std::vector<TrainingRecord> trainings;
  WeightsRecord weights{};  // of all of them
};

struct LeftOut {
  std::string stage;
  std::vector<std::pair<std::string, std::string>> rows;  // id, reason
};

struct RunRecord {
  Path folder;
  std::string name;
  std::string recipe_text;
  Json recipe = Json::object(), environment = Json::object();
  std::map<std::string, std::string> settings;  // the recipe's, for all arms that set nothing else
  std::vector<uint64_t> seeds;                  // at least one
  std::vector<ArmRecord> arms;
  std::vector<ArmScore> scores;
  std::vector<StageRecord> stages;
  std::vector<GalleryRow> gallery;  // by rising ratio
  LevelStrip levels;
  std::string pairs_arm;
  std::vector<PairRow> pairs;  // by falling weight
  std::vector<ForegroundRow> ratios;
  ForegroundTruth truth;
  LikenessTable likeness;
  std::vector<LeftOut> left_out;
};

// Throws Error when the folder is no run (it has no recipe.toml), or a file in it is damaged.
RunRecord ReadRun(const Path& folder);

// What `key` ("pretrain.method") is in an arm; empty where nothing says so.
std::string SettingOf(const RunRecord& run, const ArmRecord& arm, const std::string& key);
// Keys that arms set, without those that are the same in all arms.
std::vector<std::string> DifferingKeys(const RunRecord& run);

}  // namespace genview
