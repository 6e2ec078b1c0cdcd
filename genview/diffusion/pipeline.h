// Stable unCLIP: pictures that mean what another picture means. The image's embedding, made vaguer by a chosen level of
// noise, tells a UNet what to make of random latents; an autoencoder turns them into a picture.
//
//   auto pipeline = UnclipPipeline::Open("models/stable-unclip", device, compute);   // see generator_files.h
//   c10::InferenceMode guard;
//   UnclipRequest request{.embeddings = pipeline->EncodeImages(pixels), .levels = {0, 200}, .guidance = {10, 10},
//                         .embedding_noise = ..., .latents = ...};
//   UnclipViews views = pipeline->Generate(request);                                 // uint8 [N,H,W,3]
#pragma once

#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "genview/diffusion/noising.h"
#include "genview/diffusion/residency.h"
#include "genview/diffusion/scheduler.h"
#include "genview/models/clip_text.h"
#include "genview/models/clip_tokenizer.h"
#include "genview/models/encoder.h"
#include "genview/models/unet.h"
#include "genview/models/vae.h"

namespace genview {

// Everything is per image: a row of a batch is what it would be alone, to rounding, and with `one_by_one` to the byte.
struct UnclipRequest {
  Tensor embeddings;              // [N,D] of EncodeImages
  std::vector<int64_t> levels;    // N noise levels, 0 .. levels()-1; 0 is little noise, not none
  std::vector<double> guidance;   // N scales; 1 or less: without guidance
  Tensor embedding_noise;         // [N,D] N(0, 1)
  Tensor latents;                 // [N,4,h,w] N(0, 1); h and w give the size of the picture
  bool latents_as_given = false;  // true: not multiplied by the scheduler's initial sigma, as diffusers' `latents=`
  int64_t steps = 20;
  std::string scheduler;  // a class name of diffusers; empty: the folder's own
  // For pipelines with a text encoder: N texts, or none for all empty, and one that guidance leads away from.
  std::vector<std::string> prompts;
  std::string negative_prompt;
  bool tiles = false;       // decoded by DecodeVaeInTiles
  bool one_by_one = false;  // no two rows in one product
};

struct UnclipTrace {     // what lies between, for comparisons; fp32
  Tensor class_labels;   // [N,2D] noised embeddings and level embeddings
  Tensor prompt_embeds;  // [N,T,C] of the prompt; undefined without text encoder
  Tensor unet_first;     // the network's first output: [N,4,h,w], with guidance [2N,4,h,w], unconditional rows first
  Tensor latents;        // [N,4,h,w] final
};

struct UnclipViews {
  Tensor pictures;                  // uint8 [N,H,W,3] on the CPU
  std::vector<std::string> faults;  // per picture why it is unusable (NaN, all black); "" for a good one
};

class UnclipPipeline {
 public:
  // Weights are moved to `device` and kept in `compute`. Throws Error that names the component and what is wrong with
  // it; with kOne contents of UNet and text tower are read, and NaN found in them, when they are first needed. What the
  // folder's scheduler is, is looked at when it is asked for: another may be taken in its place.
  static std::shared_ptr<const UnclipPipeline> Open(const Path& folder_or_file, at::Device device = at::kCPU,
                                                    at::ScalarType compute = at::kFloat,
                                                    Residency residency = Residency::kAuto);

  const Preprocess& preprocess() const { return preprocess_; }
  int64_t embedding_width() const { return embedding_width_; }                        // D
  int64_t levels() const { return noiser_.levels(); }                                 // noise levels there are
  int64_t picture_scale() const { return vae_config_.scale(); }                       // pixels per latent pixel
  int64_t native_size() const { return unet_config_.sample_size * picture_scale(); }  // pixels
  std::vector<int64_t> latent_shape() const {
    return {unet_config_.in_channels, unet_config_.sample_size, unet_config_.sample_size};
  }
  // Whether a picture of these latents is more than one tile, and what decoding `rows` of them whole takes, about,
  // beside weights.
  bool HasTiles(const std::vector<int64_t>& latent_shape) const;
  uint64_t DecodeBytes(const std::vector<int64_t>& latent_shape, int64_t rows) const;
  bool keeps_all() const { return keep_all_; }
  std::string scheduler_name() const { return SchedulerName(SchedulerOf("").kind); }  // the folder's own; may throw
  // `name` as in a request. Throws UsageError for an unknown scheduler or impossible steps, Error for a configuration
  // of which that scheduler cannot be made.
  std::unique_ptr<Scheduler> SchedulerFor(const std::string& name, int64_t steps) const;
  bool has_text() const { return text_ != nullptr; }
  bool reads_prompts() const { return has_text() && text_->tokenizer.has_words(); }  // otherwise the empty one alone
  const std::string& fingerprint() const { return fingerprint_.get(); }              // of all configs and weights
  at::Device device() const { return device_; }

  // pixels: [N,3,S,S] of preprocess(). -> [N,D] fp32
  Tensor EncodeImages(const Tensor& pixels, bool one_by_one = false) const;
  // The caller holds an InferenceMode. Throws UsageError for an unknown scheduler or impossible steps.
  UnclipViews Generate(const UnclipRequest& request, UnclipTrace* trace = nullptr) const;
  // Parts of Generate, to be measured alone. The UNet is in memory; one call of the UNet on random conditions, N rows
  // (2N with guidance), as Generate makes it; latents [N,4,h,w] to pictures [N,3,H,W], about [-1, 1].
  void ReadUnet() const;
  Tensor CallUnet(const Tensor& latents, bool guided) const;
  Tensor Decode(const Tensor& latents, bool tiles, bool one_by_one = false) const;

 private:
  UnclipPipeline() = default;
  SchedulerConfig SchedulerOf(const std::string& name) const;
  Tensor EncodePrompts(const std::vector<std::string>& prompts) const;  // [N,T,C], undefined without text encoder
  Tensor EncodePrompt(const std::string& prompt) const;                 // [T,C], each text once
  struct Conditions {
    Tensor labels;              // [N,2D]
    Tensor guidance;            // [N,1,1,1]
    Tensor prompt, unprompted;  // [N,T,C], undefined without text encoder
    bool guided = false;        // at least one row is
    Conditions Rows(int64_t first, int64_t last) const;
  };
  Tensor Denoise(const Unet& unet, const UnclipRequest& request, const Conditions& conditions, const Tensor& latents,
                 Tensor* first_output) const;
  int64_t PicturesAtOnce(const std::vector<int64_t>& latent_shape, bool tiles) const;  // that one thread decodes

  // A network of the folder, read when it is first needed.
  template <class T>
  struct Part {
    std::function<std::shared_ptr<const T>()> read;
    mutable std::shared_ptr<const T> held;
  };
  // Whoever uses the network holds it; where one is kept, the others are let go before it is read.
  template <class T>
  std::shared_ptr<const T> Need(const Part<T>& part) const;
  void LetGo() const;

  at::Device device_ = at::kCPU;
  at::ScalarType compute_ = at::kFloat;
  bool keep_all_ = true;
  Preprocess preprocess_;
  int64_t embedding_width_ = 0;
  struct Text {
    ClipTokenizer tokenizer;
    int64_t positions = 0;
    // Of texts seen before, the empty one above all. A class name is a text, so there are few.
    mutable std::mutex mutex;
    mutable std::map<std::string, Tensor> known;
  };
  std::unique_ptr<const Text> text_;  // null without
  EmbeddingNoiser noiser_;
  Json scheduler_json_;  // the folder's values, for its own class or another
  std::string scheduler_where_;
  UnetConfig unet_config_;
  VaeConfig vae_config_;
  std::shared_future<std::string> fingerprint_;  // files are read for it while the first network is

  mutable std::mutex parts_mutex_;
  Part<Encoder> encoder_;
  Part<ClipText> text_tower_;
  Part<Unet> unet_;
  Part<Vae> vae_;
};

// A pipeline folder without text encoder. With a CLIP tower as image encoder diffusers loads it as
// StableUnCLIPImg2ImgPipeline; with a checkpoint of this program, which is copied into it, only this program does. It
// is no pipeline until it is whole, also where it was another one before.
struct UnclipParts {
  ClipVision* image_encoder;  // null: `checkpoint`
  Path checkpoint;
  Preprocess preprocess;  // of image_encoder; a checkpoint knows its own
  EmbeddingNoiser noiser;
  SchedulerConfig scheduler;
  Unet& unet;
  Vae& vae;
};
void WriteUnclipFolder(const UnclipParts& parts, const Path& folder, at::ScalarType dtype = at::kFloat);
// Removes what a killed WriteUnclipFolder left beside final names (base/files.h) in the folder and its components.
void SweepUnclipFolder(const Path& folder);

}  // namespace genview
