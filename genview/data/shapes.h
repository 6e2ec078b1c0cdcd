// The built-in procedural pictures: a bright object whose form is the class, on a muted background that says nothing of
// it. The mask of the object is known exactly. Picture k depends on the seed, k and the size alone, byte for byte.
//
//   const ShapesPicture picture = DrawShape({.count = 4096, .size = 64, .seed = 0}, 17);
//   ShapeClasses()[picture.label]   // "star"
//   picture.caption                 // "a large red striped star on a dark green plain background, left"
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "genview/base/fields.h"
#include "genview/image/image.h"

namespace genview {

struct ShapesConfig {
  int64_t count = 4096;
  int64_t size = 64;  // of the square picture, in pixels
  uint64_t seed = 0;
};

template <class Visit>
void VisitFields(ShapesConfig& c, Visit&& visit) {
  visit("count", c.count, Range<int64_t>{1, 10'000'000}, "how many pictures");
  visit("size", c.size, Range<int64_t>{8, 2048}, "width and height of a picture, in pixels");
  visit("seed", c.seed, Any{}, "another seed, other pictures");
}

struct ShapesPicture {
  Image image;
  GrayImage mask;         // 255 where the object covers at least half of the pixel, 0 elsewhere
  int64_t label = -1;     // index into ShapeClasses(); every ten pictures in a row hold each class once
  std::string caption;    // words of CaptionWords() alone
  double foreground = 0;  // share of mask pixels, [0, 1]
};

ShapesPicture DrawShape(const ShapesConfig& config, int64_t index);
int64_t ShapeLabel(const ShapesConfig& config, int64_t index);  // the label alone, without drawing

// arrow, beam, corner, crescent, cross, disc, ring, square, star, triangle: sorted, as the folders of a data set are.
const std::vector<std::string>& ShapeClasses();

// Vocabulary of the captions; a word's id is its index. Id 0 pads, 1 opens and 2 closes a caption.
const std::vector<std::string>& CaptionWords();
inline constexpr int64_t kCaptionLength = 16;

// Ids of the words between the opening and the closing id, padded to kCaptionLength; commas are left out. Throws Error
// for a word outside the vocabulary and for a caption that is too long.
std::vector<int64_t> TokenizeCaption(std::string_view caption);

}  // namespace genview
