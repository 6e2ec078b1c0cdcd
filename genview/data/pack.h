// Pictures into tar shards: few large files in place of many small ones, read in order or at random.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "genview/base/fields.h"
#include "genview/base/progress.h"
#include "genview/records/records.h"

namespace genview {

struct PackConfig {
  std::string images;
  Path out;                  // "folder/name", "folder/name-{0000..0007}.tar" or "folder/name.tar"
  int64_t per_shard = 5000;  // pictures; with a range in `out` its number of shards counts instead
  bool check = true;         // only pictures that can be decoded
  bool strict = false;       // the first bad one ends it
  int64_t threads = 0;
};

template <class Visit>
void VisitFields(PackConfig& c, Visit&& visit) {
  visit("images", c.images, Required{}, "folder, list file, tar shards or shapes:count=...");
  visit("out", c.out, Required{}, "name of the shards: folder/name, folder/name-{0000..0007}.tar or folder/name.tar");
  visit("per-shard", c.per_shard, Range<int64_t>{1, 10'000'000}, "pictures in a shard");
  visit("check", c.check, Any{}, "decode every picture, and leave out those that cannot be");
  visit("strict", c.strict, Any{}, "stop at the first picture that cannot be read");
  visit("threads", c.threads, RangeOrAuto<int64_t>{{0, 1024}}, "reading threads; 0 = as many as cores");
}

struct PackSummary {
  int64_t images = 0;               // in the shards
  int64_t shards = 0, written = 0;  // written: by this call; the others were there already
  std::string spec;                 // to be given as IMAGES: the shards with their range in braces
};

// The pictures' bytes as they are, under their ids (with an ending by their contents where the id has none of a
// picture), and the class of each in a .cls file (WebDataset). Beside the shards lies NAME.json: per shard its
// pictures, bytes and fingerprint. A call that was cut short is taken up by the next. Pictures that cannot be read go
// to `skipped`, and to skipped.tsv there. Throws Error when other images lie under that name (nothing is written over
// that no earlier call describes), a shard that is there is damaged, or two pictures would share a class file and have
// different classes.
PackSummary PackShards(const PackConfig& config, Progress& progress, SkippedLog& skipped);

}  // namespace genview
