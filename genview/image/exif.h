// The one thing of EXIF that matters here: which way up a picture is.
#pragma once

#include <string_view>

#include "genview/image/image.h"

namespace genview {

// Tag 0x0112 of the first directory of a TIFF block ("II*..." or "MM*..."): 1 .. 8, or 1 for anything else or damaged.
int ExifOrientation(std::string_view tiff);

// The upright picture of one that was stored with this orientation.
Image ApplyOrientation(Image image, int orientation);

// Whether width and height of the upright picture are those of the stored one the other way round.
bool SwapsSides(int orientation);

// Where a box of a stored picture of width x height lies in the upright one.
Box UprightBox(const Box& stored, int64_t width, int64_t height, int orientation);
// Where a box of an upright picture of width x height lies in the stored one.
Box StoredBox(const Box& upright, int64_t width, int64_t height, int orientation);

}  // namespace genview
