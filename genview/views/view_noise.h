// The random numbers of views: of the seed, each view for itself, or out of a file.
#pragma once

#include <optional>

#include "genview/tensor/tensor.h"
#include "genview/tensor/weights.h"
#include "genview/views/config.h"

namespace genview {

// What a view's numbers are drawn from: a pure function of run seed, picture and view, written into the manifest.
uint64_t ViewSeed(uint64_t run_seed, const std::string& id, int64_t k);

// What networks compute in. Numbers that are to be compared with another program's: in fp32, unless the user says
// otherwise.
at::ScalarType ComputeOf(const ViewsConfig& config, at::Device device);

struct ViewNoise {
  Tensor latents;    // [C,h,w]
  Tensor embedding;  // [D]
};

class ViewNoiseSource {
 public:
  // `file` empty: of seeds. Otherwise `latents` [N,C,h,w] and `embedding_noise` [N,D] for N = `views` views in order.
  // latent_shape: [C,h,w] of seeds; a file may have another h and w. Throws Error that names what does not fit.
  ViewNoiseSource(const Path& file, int64_t views, const std::vector<int64_t>& latent_shape, int64_t width);

  ViewNoise For(int64_t view, uint64_t seed) const;  // view: its number in order
  const std::vector<int64_t>& latent_shape() const { return shape_; }
  const std::string& fingerprint() const { return fingerprint_; }  // of the file; "" of seeds

 private:
  std::optional<WeightMap> file_;
  Tensor latents_, embeddings_;
  std::vector<int64_t> shape_;
  int64_t width_;
  std::string fingerprint_;
};

}  // namespace genview
