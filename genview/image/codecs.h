// The three formats behind DecodeImage, each in a file of its own. Used by image/ alone.
#pragma once

#include <string_view>

#include "genview/image/image.h"

namespace genview::codecs {

struct Decoded {
  Image image;          // as stored
  int orientation = 1;  // EXIF: 1 .. 8
};

Outcome<Decoded> DecodeJpeg(std::string_view bytes, int64_t max_pixels);
Outcome<Decoded> DecodePng(std::string_view bytes, int64_t max_pixels);
Outcome<Decoded> DecodeWebp(std::string_view bytes, int64_t max_pixels);

// The reason for a picture that is not decoded because of its size, or "" for one of a fair size.
std::string SizeComplaint(int64_t width, int64_t height, int64_t max_pixels);

// One row of R G B A over white, exactly rounded, to R G B. `rgb` may be at or before `rgba` in the same memory.
void OverWhite(const uint8_t* rgba, int64_t width, uint8_t* rgb);

}  // namespace genview::codecs
