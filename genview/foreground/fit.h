// Stage: finds the foreground component and threshold of an encoder on a sample of the user's pictures.
//
//   FitSummary done = FitForeground({.images = "photos/", .encoder = "models/ViT-H-14", .out = "FG.safetensors"}, progress);
//
// Tokens are summed up as they come. Those of a small sample are kept in memory; for a larger one the sample is encoded
// a second time once the component is known. No token is written to disk. Killed at any point, the same call goes on
// with the sums and scores of about a minute ago; kept tokens that are lost are encoded again.
#pragma once

#include <string>

#include "genview/base/progress.h"
#include "genview/foreground/pca.h"
#include "genview/tensor/run_options.h"

namespace genview {

struct FitConfig {
  std::string images;
  Path encoder;
  Path out;
  int64_t sample = 10000;
  double share = 0.4;
  ThresholdMode mode = ThresholdMode::kQuantile;
  Path component;
  int64_t memory_mb = 1024;
  Path skipped;              // list of the bad pictures; empty: skipped.tsv beside `out`
  double save_seconds = 60;  // between two states that a killed call goes on from
  RunOptions run;
};

template <class Visit>
void VisitFields(FitConfig& c, Visit&& visit) {
  visit("images", c.images, Required{}, "folder, list file, tar shards or shapes:...");
  visit("encoder", c.encoder, Required{}, "encoder folder or checkpoint");
  visit("out", c.out, Required{}, "foreground model to write (.safetensors)");
  visit("sample", c.sample, Range<int64_t>{1, int64_t{1} << 40}, "pictures to fit on, drawn without replacement");
  visit("share", c.share, Range<double>{0.001, 0.999}, "share of the tokens that count as foreground");
  visit("mode", c.mode, Any{},
        "quantile: exactly that share; histogram: the original code's rule (it used share 0.35)");
  visit("component", c.component, Any{},
        "a component to keep (.safetensors, or the original's .npy): only sign and threshold are fitted");
  visit("memory_mb", c.memory_mb, Range<int64_t>{0, int64_t{1} << 30},
        "tokens kept in memory; a larger sample is encoded twice");
  visit("run", c.run, Section{}, "");
}

struct FitSummary {
  int64_t images = 0, skipped = 0;
  double threshold = 0, margin = 0, variance_share = 0;
  bool up_to_date = false;  // nothing was to be done
};

// Writes `out`, and the list `skipped` when there were bad pictures.
FitSummary FitForeground(const FitConfig& config, Progress& progress);

}  // namespace genview
