// Pictures of one run for a page: decoded, made small, and kept within a budget, as data URIs. A picture that is
// missing or damaged is left out and counted; a report never fails because of one.
#pragma once

#include <optional>
#include <string>

#include "genview/base/files.h"
#include "genview/image/image.h"

namespace genview {

struct PageImage {
  std::string uri;  // data:image/...
  int64_t width = 0, height = 0;
};

class PictureShelf {
 public:
  explicit PictureShelf(uint64_t budget_bytes = 2'600'000, int64_t longest_side = 176)
      : left_(budget_bytes), side_(longest_side) {}

  std::optional<PageImage> Add(const Path& file);
  // The picture where `mask` is white, faded where it is black.
  std::optional<PageImage> AddMasked(const Path& file, const Path& mask);

  int64_t left_out() const { return left_out_; }

 private:
  std::optional<Image> Read(const Path& file);
  std::optional<PageImage> Encode(const Image& image);

  uint64_t left_;
  int64_t side_, left_out_ = 0;
};

// `mask` is stretched to the picture's size and read as a weight: 255 keeps the pixel, 0 fades it.
Image FadeOutside(const Image& image, const Image& mask);

}  // namespace genview
