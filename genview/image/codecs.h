// The three formats behind DecodeImage, each in a file of its own. Used by image/ alone.
#pragma once

#include <string_view>

#include "genview/image/image.h"

namespace genview::codecs {

struct Decoded {
  Image image;          // as stored
  int orientation = 1;  // EXIF: 1 .. 8
};

// What `box` of a stored picture of width x height shows, as stored.
struct DecodedPart {
  Decoded decoded;
  Box box;
  int64_t width = 0, height = 0;
};

// `wanted` is asked about the upright picture, and its box is in the part; null: the whole picture is wanted.
Outcome<DecodedPart> DecodeJpeg(std::string_view bytes, int64_t max_bytes, const WantedBox* wanted);
Outcome<Decoded> DecodePng(std::string_view bytes, int64_t max_bytes);
Outcome<Decoded> DecodeWebp(std::string_view bytes, int64_t max_bytes);

// The reason for a picture that is not decoded because of its size, or "" for one of a fair size. `needed`: the bytes
// that decoding takes at its peak; a header can promise more than an integer holds.
std::string SizeComplaint(int64_t width, int64_t height, double needed, int64_t max_bytes);
// The bytes of the decoded picture, with those of its upright copy where it is turned, which is made last.
double PictureBytes(int64_t width, int64_t height, int orientation);

// What is wanted of an upright picture of this size, which must be some of it.
Box AskFor(const WantedBox& wanted, int64_t width, int64_t height);

// One row of R G B A over white, exactly rounded, to R G B. `rgb` may be at or before `rgba` in the same memory.
void OverWhite(const uint8_t* rgba, int64_t width, uint8_t* rgb);

}  // namespace genview::codecs
