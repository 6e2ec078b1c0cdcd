#include "genview/views/batch_size.h"

#include <algorithm>

namespace genview {

int64_t AutoViewBatch(at::Device device, const std::vector<int64_t>& latent_shape) {
  const int64_t pixels = latent_shape[1] * latent_shape[2];
  return std::clamp<int64_t>((device.is_cuda() ? 16 * 96 * 96 : 8 * 64 * 64) / pixels, 1, 64);
}

}  // namespace genview
