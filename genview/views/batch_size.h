// How much is computed at once: views in a batch, and pictures whole or in tiles.
#pragma once

#include <vector>

#include "genview/diffusion/pipeline.h"
#include "genview/views/config.h"

namespace genview {

// As many as keep the machine busy without filling its memory: activations grow with the latent pixels. latent_shape:
// [C,h,w].
int64_t AutoViewBatch(at::Device device, const std::vector<int64_t>& latent_shape);

// Whether the pictures of a batch are decoded in tiles. Never where one tile is the whole picture.
bool DecodesInTiles(DecodeChoice choice, const UnclipPipeline& pipeline, const std::vector<int64_t>& latent_shape,
                    int64_t batch);

}  // namespace genview
