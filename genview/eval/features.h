// Stage: what an encoder makes of every picture, as one file that other tools read.
//
//   FeaturesSummary done = ExtractFeatures({.images = "photos/", .encoder = "models/ViT-B-32", .out = "f.safetensors"}, progress);
//
// The file holds `embeddings` [N,D] and, if asked for, `tokens` [N,T,C], fp32; its metadata hold `ids` and `paths`
// (JSON lists in row order; the paths are left out where names are too long for them), where the source has classes
// also `labels` and `classes`, and under `genview` where they come from. Rows go to the disk as they are made. Killed
// at any point, the same call goes on.
#pragma once

#include <string>

#include "genview/base/fields.h"
#include "genview/base/progress.h"
#include "genview/dist/group.h"
#include "genview/tensor/run_options.h"

namespace genview {

struct FeaturesConfig {
  std::string images;
  Path encoder;
  Path out;
  bool tokens = false;
  RunOptions run;
  // Bytes of ids and paths beyond which the paths are left out: some hundred thousand pictures and more. A header ends
  // at 100 million.
  uint64_t most_names = 80'000'000;
};

template <class Visit>
void VisitFields(FeaturesConfig& c, Visit&& visit) {
  visit("images", c.images, Required{}, "folder, list file, tar shards or shapes:...");
  visit("encoder", c.encoder, Required{}, "encoder folder or checkpoint");
  visit("out", c.out, Required{}, "file to write (.safetensors)");
  visit("tokens", c.tokens, Any{}, "write the patch tokens, too");
  visit("run", c.run, Section{}, "");
}

struct FeaturesSummary {
  int64_t images = 0, skipped = 0;
  int64_t embedding_width = 0;
  bool up_to_date = false;  // nothing was to be done
};

// Writes `out`, and skipped.tsv beside it when there were bad pictures. The processes of a group share the pictures and
// end with the bytes of one; only process 0 knows the sums. Under `run.strict` throws Error, too, when an earlier call
// left pictures out.
FeaturesSummary ExtractFeatures(const FeaturesConfig& config, Progress& progress, Group& group = Alone());

}  // namespace genview
