#include "genview/views/batch_size.h"

#include <algorithm>

#include "genview/tensor/device.h"

namespace genview {

int64_t AutoViewBatch(at::Device device, const std::vector<int64_t>& latent_shape) {
  const int64_t pixels = latent_shape[1] * latent_shape[2];
  return std::clamp<int64_t>((device.is_cpu() ? 8 * 64 * 64 : 16 * 96 * 96) / pixels, 1, 64);
}

bool DecodesInTiles(DecodeChoice choice, const UnclipPipeline& pipeline, const std::vector<int64_t>& latent_shape,
                    int64_t batch) {
  if (choice == DecodeChoice::kWhole || !pipeline.HasTiles(latent_shape)) return false;
  if (choice == DecodeChoice::kTiles) return true;
  const uint64_t free = FreeMemoryBytes(pipeline.device());
  return free > 0 && pipeline.DecodeBytes(latent_shape, batch) > free;
}

}  // namespace genview
