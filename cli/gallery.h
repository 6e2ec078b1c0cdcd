// A few pictures of a run for its report: over the whole range of ratios, with mask and view; one picture at every
// noise level; pairs of highest and lowest weight; and how like its picture a view is, by level and ratio. Written as
// small picture files, gallery.json and likeness.json (see report/run_record.h).
#pragma once

#include <optional>
#include <vector>

#include "genview/base/progress.h"
#include "genview/pretrain/config.h"

namespace genview {

struct GalleryConfig {
  std::string images;
  Path ratios, masks;  // of `foreground score`; empty: no pictures by ratio
  Path views;          // folder with manifest.jsonl; may be empty
  Path generator;      // for one picture at every one of `levels`; may be empty
  std::vector<int64_t> levels;
  int64_t steps = 20;
  double guidance = 10;
  std::string scheduler;
  std::string prompt, negative_prompt;  // as the views were told
  int64_t pictures = 10;
  Path encoder;                            // of the foreground model, for likeness; may be empty
  int64_t likeness = 100;                  // pictures whose views are compared with them, at every level; 0: none
  std::optional<PretrainConfig> pairs_of;  // an arm with quality weights, as it was trained
  std::string arm;                         // its name
  int64_t pairs = 4;                       // of each end
  Path out;
  RunOptions run;
};

struct GallerySummary {
  int64_t pictures = 0, pairs = 0;
};

GallerySummary MakeGallery(const GalleryConfig& config, Progress& progress);

// `count` of the rows, their ratios as even between the smallest and the largest as the rows allow; by rising ratio.
std::vector<size_t> SpreadByRatio(const std::vector<double>& ratios, size_t count);

}  // namespace genview
