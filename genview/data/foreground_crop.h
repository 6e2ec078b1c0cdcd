// Crops that know where the subject of a picture is: a crop at random may show none of it, and two views that have
// nothing in common are no pair.
//
//   const ForegroundArea area(mask);
//   Box crop = ...; if (area.ShareIn(crop, image.width, image.height) >= 0.5) ...
#pragma once

#include <cstdint>
#include <vector>

#include "genview/base/fields.h"
#include "genview/image/image.h"

namespace genview {

enum class CropDraw {
  kAnywhere,
  kBox,    // centred in the box around the foreground (ContrastiveCrop: X. Peng et al., 2022)
  kShare,  // such that a share of the foreground is in it
};
template <>
struct EnumNames<CropDraw> {
  static constexpr std::pair<CropDraw, const char*> kNames[] = {
      {CropDraw::kAnywhere, "anywhere"}, {CropDraw::kBox, "box"}, {CropDraw::kShare, "share"}};
};

struct ForegroundCrop {
  CropDraw draw = CropDraw::kAnywhere;
  double share = 0.5;  // kShare: of the foreground, at least in one crop
  double alpha = 0.6;  // kBox: the centre's place along each side of the box is drawn from Beta(alpha, alpha)
};

// Where the foreground of one picture is. Kept at no more than 256 places a side.
class ForegroundArea {
 public:
  explicit ForegroundArea(const GrayImage& mask);  // 255 = foreground; of any size, it is laid over the whole picture

  bool empty() const { return total() == 0; }
  // Share of the foreground inside `box` of a picture of this size; 0 without any foreground.
  double ShareIn(const Box& box, int64_t width, int64_t height) const;
  // The smallest box of a picture of this size around all of it; the whole picture when it is empty.
  Box Around(int64_t width, int64_t height) const;

 private:
  int64_t total() const { return sums_.back(); }

  int64_t width_, height_;
  std::vector<int32_t> sums_;  // [height + 1, width + 1]: foreground above and to the left
};

}  // namespace genview
