// How like their images generated views are: for a sample of a run's own images, over their whole range of foreground,
// one view at every noise level. Told by the run's encoder: the cosine between the embeddings of image and view, and,
// where the images have classes, whether a linear classifier on embeddings of other real images names the same class.
//
//   Likeness likeness = MeasureLikeness({.images = "photos/", .encoder = "ENCODER", .generator = "GENERATOR",
//                                        .ratios = "ratios.tsv", .levels = {0, 100, 200, 300, 400}}, progress);
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "genview/base/json.h"
#include "genview/base/progress.h"
#include "genview/tensor/run_options.h"
#include "genview/tensor/tensor.h"

namespace genview {

struct LikenessConfig {
  std::string images;
  Path encoder;
  Path generator;
  Path ratios;  // of `foreground score`; empty: one bin for all
  std::vector<int64_t> levels;
  int64_t pictures = 100;  // of the sample
  int64_t steps = 20;
  double guidance = 10;
  std::string scheduler;
  std::string prompt{}, negative_prompt{};  // as ViewsConfig's
  RunOptions run;
};

// Of the views of one level, all of them or those of one bin of ratios.
struct LikenessRow {
  int64_t level = 0;
  double from = 0, to = 1;  // foreground ratio of the images, (from, to]
  int64_t views = 0;
  double cosine = 0;  // mean
  int64_t kept = 0;   // views in whose image's class the classifier puts them
};
struct Likeness {
  int64_t pictures = 0;
  std::optional<int64_t> real_kept;   // of the images themselves; nothing without classes
  std::vector<LikenessRow> by_level;  // over all ratios
  std::vector<LikenessRow> by_bin;    // by level, then by bin
};

Likeness MeasureLikeness(const LikenessConfig& config, Progress& progress);
Json LikenessToJson(const Likeness& likeness);

// Least squares from embeddings to classes, on rows of length 1; classes as [N] int64. A linear classifier without a
// schedule: the same images give the same one.
struct RidgeClassifier {
  Tensor weights;                                  // [D+1,K], the last row is added
  Tensor Classes(const Tensor& embeddings) const;  // [N,D] -> [N]
};
RidgeClassifier FitRidge(const Tensor& embeddings, const Tensor& labels, int64_t classes);

}  // namespace genview
