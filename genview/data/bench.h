// How many pictures a second this machine can read and change, on the user's own images.
#pragma once

#include <cstdint>
#include <string>

#include "genview/base/fields.h"
#include "genview/base/progress.h"

namespace genview {

struct LoaderBenchConfig {
  std::string images;
  int64_t size = 224, views = 2, threads = 0;
  double seconds = 10;
};

template <class Visit>
void VisitFields(LoaderBenchConfig& c, Visit&& visit) {
  visit("images", c.images, Required{}, "folder, list file, tar shards or shapes:count=...");
  visit("size", c.size, Range<int64_t>{8, 1024}, "width and height of what is made, in pixels");
  visit("views", c.views, Range<int64_t>{1, 2}, "2: MoCo v2 view pairs; 1: pictures as an encoder sees them");
  visit("threads", c.threads, RangeOrAuto<int64_t>{{0, 1024}}, "loader threads; 0 = as many as cores");
  visit("seconds", c.seconds, Range<double>{0.01, 3600}, "how long to measure");
}

struct LoaderBenchResult {
  double images_per_second = 0;
  int64_t images = 0;  // read while the clock ran
  double seconds = 0;
  int64_t threads = 0;
  int64_t skipped = 0;  // pictures that cannot be read
};

// Reads the whole source over and over, and throws the batches away. The clock starts after the first batch.
LoaderBenchResult BenchLoader(const LoaderBenchConfig& config, Progress& progress);

}  // namespace genview
