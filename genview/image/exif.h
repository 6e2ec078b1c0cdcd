// The one thing of EXIF that matters here: which way up a picture is.
#pragma once

#include <string_view>

#include "genview/image/image.h"

namespace genview {

// Tag 0x0112 of the first directory of a TIFF block ("II*..." or "MM*..."): 1 .. 8, or 1 for anything else or damaged.
int ExifOrientation(std::string_view tiff);

// The upright picture of one that was stored with this orientation.
Image ApplyOrientation(Image image, int orientation);

}  // namespace genview
