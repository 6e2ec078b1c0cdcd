#include "genview/generator/shapes_feed.h"

#include "genview/image/preprocess.h"

namespace genview {

ShapesBatch DrawShapesBatch(const ShapesConfig& config, int64_t first, int64_t count, const std::array<double, 3>& mean,
                            const std::array<double, 3>& std) {
  ShapesBatch batch{at::empty({count, 3, config.size, config.size}), {}, at::empty({count}, at::kLong)};
  const auto floats = static_cast<size_t>(3 * config.size * config.size);
  for (int64_t i = 0; i < count; ++i) {
    ShapesPicture picture = DrawShape(config, first + i);
    Normalise(picture.image, mean, std, {batch.pixels.data_ptr<float>() + static_cast<size_t>(i) * floats, floats});
    batch.captions.push_back(std::move(picture.caption));
    batch.labels.data_ptr<int64_t>()[i] = picture.label;
  }
  return batch;
}

}  // namespace genview
