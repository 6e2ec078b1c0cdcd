// The way a picture becomes an encoder's input: resize, crop, scale to [0, 1], normalise. It travels with every encoder
// and every score, since features of another resize rule are other features.
#pragma once

#include <array>
#include <span>
#include <string>

#include "genview/base/json.h"
#include "genview/image/image.h"

namespace genview {

inline constexpr std::array<double, 3> kClipMean{0.48145466, 0.4578275, 0.40821073},
    kClipStd{0.26862954, 0.26130258, 0.27577711};
inline constexpr std::array<double, 3> kImagenetMean{0.485, 0.456, 0.406}, kImagenetStd{0.229, 0.224, 0.225};

struct Preprocess {
  int64_t size = 224;             // of the square that the encoder sees, in pixels
  int64_t resize_shortest = 224;  // shortest side after resizing; 0: the crop alone (resize to size x size is `squash`)
  bool squash = false;            // resize straight to size x size, without keeping the aspect
  int64_t resize_width = 0, resize_height = 0;  // in place of the shortest side: straight to this, without the aspect
  bool pad = false;                             // resize the longest side to `size` and put bars around the picture
  uint8_t fill = 0;                             // of the bars, in all colours
  Filter filter = Filter::kBicubic;
  // Crop offset (H-size)//2 (Hugging Face) instead of round((H-size)/2) (torchvision, open_clip).
  bool floor_crop = false;
  std::array<double, 3> mean = kClipMean, std = kClipStd;

  Json ToJson() const;
  static Preprocess FromJson(const Json& json, std::string_view where);
};

// What happens to a picture of width x height: resized to this size, then cut to `crop` (which may reach over the
// edge).
struct Geometry {
  int64_t width = 0, height = 0;
  Box crop;
};
Geometry GeometryOf(const Preprocess& p, int64_t width, int64_t height);
// Resize and crop: the picture the encoder sees, still 8 bits.
Image ApplyGeometry(const Preprocess& p, const Image& image);
// out: 3 * H * W floats, channels first: (v / 255 - mean) / std.
void Normalise(const Image& image, const std::array<double, 3>& mean, const std::array<double, 3>& std,
               std::span<float> out);
// The same values as H * W * 3 floats, the order of a channels-last tensor.
void NormaliseChannelsLast(const Image& image, const std::array<double, 3>& mean, const std::array<double, 3>& std,
                           std::span<float> out);

}  // namespace genview
