#include "genview/views/view_noise.h"

#include "genview/base/hash.h"
#include "genview/tensor/device.h"
#include "genview/tensor/safetensors.h"

namespace genview {

uint64_t ViewSeed(uint64_t run_seed, const std::string& id, int64_t k) {
  return Seed(run_seed).With("views").With(id).With(static_cast<uint64_t>(k)).key();
}

at::ScalarType ComputeOf(const ViewsConfig& c, at::Device device) {
  const bool compared = !c.noise.empty() || !c.dump.empty();
  return compared && c.run.precision == Precision::kAuto ? at::kFloat : ChooseCompute(c.run.precision, device);
}

ViewNoiseSource::ViewNoiseSource(const Path& file, int64_t views, const std::vector<int64_t>& latent_shape,
                                 int64_t width)
    : shape_(latent_shape), width_(width) {
  if (file.empty()) return;
  file_ = ReadSafetensors(file);
  fingerprint_ = FingerprintFile(file);
  latents_ = file_->At("latents");
  embeddings_ = file_->At("embedding_noise");
  const auto check = [&](bool good, const char* name, const Tensor& tensor, const std::string& wanted) {
    if (good && tensor.is_floating_point()) return;
    throw Error({.what = Format("`{}` is {} [{}], wanted numbers [{}]", name, toString(tensor.scalar_type()),
                                fmt::join(tensor.sizes(), ","), wanted),
                 .where = file.string(),
                 .next = "give one row for each view, in the order of the pictures"});
  };
  check(latents_.dim() == 4 && latents_.size(0) == views && latents_.size(1) == shape_[0] && latents_.size(2) > 0 &&
            latents_.size(3) > 0,
        "latents", latents_, Format("{},{},h,w", views, shape_[0]));
  check(embeddings_.dim() == 2 && embeddings_.size(0) == views && embeddings_.size(1) == width, "embedding_noise",
        embeddings_, Format("{},{}", views, width));
  shape_ = latents_.sizes().slice(1).vec();
}

ViewNoise ViewNoiseSource::For(int64_t view, uint64_t seed) const {
  if (file_) return {latents_[view].to(at::kFloat), embeddings_[view].to(at::kFloat)};
  return {NormalTensor(Seed(seed).With("latents"), shape_), NormalTensor(Seed(seed).With("embedding"), {width_})};
}

}  // namespace genview
