// Whether a folder of views is what its manifest says, row by row and byte by byte: `genview views verify`.
//
//   const VerifyReport report = VerifyViews({.folder = "views/", .repair = true}, progress);
#pragma once

#include <string>
#include <vector>

#include "genview/base/fields.h"
#include "genview/base/progress.h"
#include "genview/tensor/device.h"

namespace genview {

struct VerifyConfig {
  Path folder;
  bool repair = false;
  DeviceChoice device = DeviceChoice::kAuto;  // that repairs
  int64_t threads = 0;                        // likewise
};

template <class Visit>
void VisitFields(VerifyConfig& c, Visit&& visit) {
  visit("folder", c.folder, Required{}, "folder of views");
  visit("repair", c.repair, Any{}, "make what is wrong again");
  visit("device", c.device, Any{}, "with --repair: where to compute");
  visit("threads", c.threads, RangeOrAuto<int64_t>{{0, 1024}}, "with --repair: loader threads; 0 = as many as cores");
}

struct VerifyReport {
  int64_t rows = 0;                   // that are good
  std::vector<std::string> problems;  // one line each, in the order of the manifest, then files without a row
  int64_t missing = 0;                // views that were asked for and have neither a good row nor a place in lost.jsonl
  int64_t made = 0;                   // by the repair
};

// Problems are: lines that are no rows, rows of one view twice, files that are not there, of another size, with other
// contents, that are no picture, black, of another size in pixels than asked for or written down, the same as another
// row's; rows that do not fit the folder's request, or the picture as it is now, or name another generator than the
// others; pictures without a row; shards that are not, byte for byte, what their rows say; damaged settings.json and
// lost.jsonl. With `repair` bad rows and their files, and pictures without a row, but for those that views are made of,
// are removed and the views made again from request.json. Throws Error where there is no manifest, or nothing to repair
// from; a repair also, before it touches anything, where the pictures are gone or another process is at work on the
// folder.
VerifyReport VerifyViews(const VerifyConfig& config, Progress& progress);

}  // namespace genview
