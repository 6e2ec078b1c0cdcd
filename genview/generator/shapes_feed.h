// Batches of procedural pictures. Picture numbers are a function of the step alone, so that no two steps see the same
// picture and a resumed run sees the same ones.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "genview/data/shapes.h"
#include "genview/tensor/tensor.h"

namespace genview {

struct ShapesBatch {
  Tensor pixels;  // [N,3,S,S] fp32: (v / 255 - mean) / std
  std::vector<std::string> captions;
  Tensor labels;  // [N] int64
};

// Pictures first .. first+count-1.
ShapesBatch DrawShapesBatch(const ShapesConfig& config, int64_t first, int64_t count, const std::array<double, 3>& mean,
                            const std::array<double, 3>& std);

}  // namespace genview
