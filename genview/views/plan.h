// What a job of views will cost, found out by making a few: `genview views --plan`. Writes nothing.
//
//   const ViewsPlan plan = PlanViews(config, {.seconds = 60}, progress);
#pragma once

#include <vector>

#include "genview/base/progress.h"
#include "genview/views/config.h"

namespace genview {

struct ViewsPlanOptions {
  double seconds = 55;  // of probing, about; more where the shortest probe takes longer
  double watts = 0;     // what the machine draws; 0: its processors' counters say
};

struct PlannedBatch {
  int64_t batch = 0;
  double views_per_second = 0;              // at the median
  double seconds = 0, least = 0, most = 0;  // of the whole job: at the median, the fastest and the slowest probe
  uint64_t peak_bytes = 0;                  // of memory
  bool whole = false;   // all steps were made; otherwise reckoned from fewer, or from a smaller batch
  bool chosen = false;  // what the job takes as it is asked for
};

struct ViewsPlan {
  int64_t pictures = 0, views = 0, there = 0;  // there: views that the folder holds already
  int64_t width = 0, height = 0;               // of a written view
  double bytes_per_view = 0;                   // of the samples
  double probed_seconds = 0;
  double open_seconds = 0;  // of the generator
  double watts = 0;         // while it computes; 0: not known
  bool watts_given = false;
  std::string device, precision, scheduler;
  std::vector<PlannedBatch> batches;  // ascending

  double disk_bytes() const { return bytes_per_view * static_cast<double>(views); }
};

ViewsPlan PlanViews(const ViewsConfig& config, const ViewsPlanOptions& options, Progress& progress);
std::string PlanToText(const ViewsConfig& config, const ViewsPlan& plan);

}  // namespace genview
