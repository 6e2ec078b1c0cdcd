// The built-in shapes as a folder of PNG files with the truth beside them.
#pragma once

#include "genview/base/files.h"
#include "genview/base/progress.h"
#include "genview/data/shapes.h"

namespace genview {

struct ShapesDatasetSummary {
  int64_t images = 0;   // in the folder now
  int64_t written = 0;  // by this call; the others were there already
};

// Writes OUT/images/CLASS/NNNNNN.png and OUT/masks/CLASS/NNNNNN.png (255 = foreground), N the picture's number, and at
// the end OUT/dataset.json. A call that was cut short is taken up by the next; files that are there and right stay as
// they are. Throws Error when OUT holds the pictures of other settings. `threads` 0: as many as cores.
ShapesDatasetSummary MakeShapesDataset(const ShapesConfig& config, const Path& out, Progress& progress,
                                       int64_t threads = 0);

}  // namespace genview
