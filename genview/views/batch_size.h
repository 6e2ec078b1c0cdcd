// How many views are generated together.
#pragma once

#include <vector>

#include "genview/tensor/tensor.h"

namespace genview {

// As many as keep the machine busy without filling its memory: activations grow with the latent pixels. latent_shape: [C,h,w].
int64_t AutoViewBatch(at::Device device, const std::vector<int64_t>& latent_shape);

}  // namespace genview
