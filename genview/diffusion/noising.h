// The condition of a generated view: an image embedding with a chosen amount of noise, and that amount itself.
//
//   EmbeddingNoiser noiser = ReadEmbeddingNoiser(folder, 1024);
//   Tensor labels = noiser.ClassVectors(embeddings, levels, noise);       // [N,2D]: noised embedding, level embedding
#pragma once

#include "genview/base/files.h"
#include "genview/diffusion/noise_table.h"

namespace genview {

struct EmbeddingNoiser {
  Tensor mean, std;  // [1,D] of the embeddings the generator was trained with
  Tensor alpha_bar;  // [T] by noise level

  int64_t levels() const { return alpha_bar.size(0); }
  // e' = ((sqrt(a) (e - mean) / std + sqrt(1 - a) noise) std + mean). embeddings, noise: [N,D]; levels: [N], each in
  // [0, levels()). Level 0 is not noise-free. -> [N,D]
  Tensor Noised(const Tensor& embeddings, const Tensor& levels, const Tensor& noise) const;
  // The noised embedding and the sinusoid of its level, side by side. -> [N,2D]
  Tensor ClassVectors(const Tensor& embeddings, const Tensor& levels, const Tensor& noise) const;
};

// The cosine table of Stable unCLIP and no normalisation: what a new generator begins with.
EmbeddingNoiser MakeEmbeddingNoiser(int64_t width);
// image_normalizer/ and image_noising_scheduler/ of a pipeline folder.
EmbeddingNoiser ReadEmbeddingNoiser(const Path& pipeline, int64_t width);
void WriteEmbeddingNoiser(const EmbeddingNoiser& noiser,
                          const Path& pipeline);  // the cosine table alone can be written

}  // namespace genview
