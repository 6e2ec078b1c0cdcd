// The stage `views`: for every picture one or several others that mean the same.
//
//   ViewsConfig config{.images = "photos/", .generator = "generator/", .out = "views/", .ratios = "ratios.tsv"};
//   ViewsSummary done = GenerateViews(config, progress);
//
// Files under `out`: FILE.png for each picture, manifest.jsonl (ViewRow), settings.json, skipped.tsv (its header
// alone where no picture was left out), lost.jsonl where views came out as not a number or black even in fp32. Resumes
// by itself. Pictures are computed in batches whose members depend on the list of pictures and the batch size alone, so
// a run that was stopped and begun again ends with the same bytes; another batch size changes them to rounding. Where
// memory does not do for a batch it is computed in halves, and so are those after it.
#pragma once

#include "genview/base/progress.h"
#include "genview/dist/group.h"
#include "genview/views/config.h"

namespace genview {

struct ViewsSummary {
  int64_t asked = 0;              // views: pictures times per_image
  int64_t written = 0;            // that are there now
  int64_t made = 0;               // of them, in this run
  int64_t skipped = 0;            // pictures left out, see skipped.tsv
  int64_t retried = 0;            // views made again in fp32 in this run
  std::vector<std::string> lost;  // views that were unusable in fp32, too: "ID: why"; not tried again by the next run
  Path folder;
};

// `out` is a folder of its own: neither in the folder of pictures nor with other pictures in it. Throws Error (strict:
// also for the first picture that must be left out), UsageError, Interrupted. The processes of a group share the
// batches and end with the bytes of one; only process 0 knows the sums.
ViewsSummary GenerateViews(const ViewsConfig& config, Progress& progress, Group& group = Alone());

}  // namespace genview
