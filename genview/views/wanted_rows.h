// The rows that a job of views asks for, in the order of its pictures and their views: what `genview views` makes and
// what `genview views verify` compares with.
#pragma once

#include <vector>

#include "genview/records/records.h"
#include "genview/views/noise_levels.h"

namespace genview {

// per_image rows for each picture of `source`, without what the generator says of itself and where the bytes lie.
std::vector<ViewRow> WantedRows(const ViewsConfig& config, const ImageSource& source, const NoiseLevels& levels);

}  // namespace genview
