// The whole state of a training run as one file, `step-0000000123.safetensors`: it appears whole or not at all, and a
// damaged one is passed over in favour of the one before.
//
//   SaveCheckpoint(folder, step, tensors, meta, /*keep=*/2);
//   if (const auto latest = LatestCheckpoint(folder)) { WeightReader reader(latest->weights); ... }
//
// Metadata key `genview`: `meta` as JSON with two members more, "step" and "checksum" (of all tensors).
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "genview/base/json.h"
#include "genview/tensor/weights.h"

namespace genview {

struct Checkpoint {
  Path path;
  WeightMap weights;
  Json meta;
  int64_t step = 0;
};

// Writes the file and then removes all checkpoints of later steps, and all but the newest `keep` of the rest (0: all
// stay there). Returns its path. Throws Error when it cannot be written; the checkpoints before are then still there.
Path SaveCheckpoint(const Path& folder, int64_t step, const std::vector<std::pair<std::string, Tensor>>& tensors,
                    Json meta, int64_t keep = 2);

// Removes all but the newest `keep`; with 0 it removes none.
void KeepNewestCheckpoints(const Path& folder, int64_t keep);

// The newest checkpoint that is whole, read, or nothing. `skipped`, if given, receives the reason for each one passed
// over. Throws NewerFormatError for one of a newer version of this program.
std::optional<Checkpoint> LatestCheckpoint(const Path& folder, std::vector<std::string>* skipped = nullptr);

// Throws Error for a file that is not a whole checkpoint of this program (the checksum is compared), or of a newer
// version of it.
Checkpoint ReadCheckpoint(const Path& path);

// All `step-*.safetensors` of the folder, oldest first.
std::vector<std::pair<int64_t, Path>> ListCheckpoints(const Path& folder);

// Metadata for WriteSafetensors: `meta` and the checksum under the key `genview`.
std::map<std::string, std::string> CheckpointMetadata(const std::vector<std::pair<std::string, Tensor>>& tensors,
                                                      Json meta);

}  // namespace genview
