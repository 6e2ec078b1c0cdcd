// Model folders for `genview inspect`: components, parameters, precision, and the memory that running them takes.
#pragma once

#include "genview/base/files.h"

namespace genview {

// Prints what the folder of a pipeline or an encoder holds; false when it is neither. Reads headers and configs alone.
// Throws Error for a damaged weights file.
bool InspectModelFolder(const Path& folder);

}  // namespace genview
