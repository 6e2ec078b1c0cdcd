// How fast an encoder goes through pictures on this machine, reading included: `genview bench features`.
#pragma once

#include <string>

#include "genview/base/fields.h"
#include "genview/tensor/bench_times.h"
#include "genview/tensor/run_options.h"

namespace genview {

struct BenchFeaturesConfig {
  std::string images;
  Path encoder;
  bool tokens = false;
  int64_t rounds = 10;
  double seconds = 0;
  RunOptions run;
};

template <class Visit>
void VisitFields(BenchFeaturesConfig& c, Visit&& visit) {
  visit("images", c.images, Required{}, "folder, list file, tar shards or shapes:...; read again and again");
  visit("encoder", c.encoder, Required{}, "encoder folder or checkpoint");
  visit("tokens", c.tokens, Any{}, "compute the patch tokens, too");
  visit("rounds", c.rounds, Range<int64_t>{1, 100000}, "batches measured, after two that are not");
  visit("seconds", c.seconds, Range<double>{0, 86400}, "measure for about this long instead; 0 = by rounds");
  visit("run", c.run, Section{}, "device, precision, batch, threads");
}

struct BenchFeaturesResult {
  BenchFigures figures;   // of one batch
  double wait_share = 0;  // of the time that the encoder waited for pictures
};
BenchFeaturesResult BenchFeatures(const BenchFeaturesConfig& config, Progress& progress);

}  // namespace genview
