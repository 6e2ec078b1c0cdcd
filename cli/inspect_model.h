// Model folders for `genview inspect`: components, parameters, precision, and the memory that running them takes.
#pragma once

#include "genview/base/files.h"
#include "genview/tensor/safetensors.h"

namespace genview {

// Prints what the folder of a pipeline or an encoder holds; false when it is neither. Reads headers and configs alone.
// Throws Error for a damaged weights file.
bool InspectModelFolder(const Path& folder);
// Prints the networks of a generator's single file in the original layout (models/ldm.h); nothing for other weights.
void PrintNetworksOfFile(const std::vector<SafetensorsEntry>& tensors);

}  // namespace genview
