// The sentence that describes a picture of data/shapes.h.
#pragma once

#include <string>

#include "genview/data/shape_outline.h"

namespace genview {

enum class Pattern { kPlain, kStriped, kChecked, kDotted, kShaded };
inline constexpr int64_t kPatternCount = 5;
inline constexpr int64_t kHueCount = 8;  // red, orange, yellow, green, cyan, blue, purple, pink

struct ShapeWords {
  Form form = Form::kDisc;
  Pattern pattern = Pattern::kPlain, background_pattern = Pattern::kPlain;
  int64_t hue = 0;
  int64_t background_hue = -1;        // -1: grey
  double background_value = 0;        // [0, 1], brightness of the background
  double foreground = 0;              // share of the picture
  double offset_x = 0, offset_y = 0;  // of the object's centre from the picture's, in picture widths, y downwards
};

std::string Caption(const ShapeWords& words);

}  // namespace genview
