// Stable unCLIP: pictures that mean what another picture means. The image's embedding, made vaguer by a chosen level of
// noise, tells a UNet what to make of random latents; an autoencoder turns them into a picture.
//
//   auto pipeline = UnclipPipeline::Open("models/stable-unclip", device, compute);   // a diffusers pipeline folder
//   c10::InferenceMode guard;
//   UnclipRequest request{.embeddings = pipeline->EncodeImages(pixels), .levels = {0, 200}, .guidance = {10, 10},
//                         .embedding_noise = ..., .latents = ...};
//   UnclipViews views = pipeline->Generate(request);                                 // uint8 [N,H,W,3]
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "genview/diffusion/noising.h"
#include "genview/diffusion/scheduler.h"
#include "genview/models/clip_text.h"
#include "genview/models/clip_tokenizer.h"
#include "genview/models/encoder.h"
#include "genview/models/unet.h"
#include "genview/models/vae.h"

namespace genview {

// Everything is per image: a row of a batch is what it would be alone, to rounding.
struct UnclipRequest {
  Tensor embeddings;               // [N,D] of EncodeImages
  std::vector<int64_t> levels;     // N noise levels, 0 .. levels()-1; 0 is little noise, not none
  std::vector<double> guidance;    // N scales; 1 or less: without guidance
  Tensor embedding_noise;          // [N,D] N(0, 1)
  Tensor latents;                  // [N,4,h,w] N(0, 1); h and w give the size of the picture
  bool latents_as_given = false;   // true: not multiplied by the scheduler's initial sigma, as diffusers' `latents=`
  int64_t steps = 20;
  std::string scheduler;           // a class name of diffusers; empty: the folder's own
  // For pipelines with a text encoder: N texts, or none for all empty, and one that guidance leads away from.
  std::vector<std::string> prompts;
  std::string negative_prompt;
};

struct UnclipTrace {      // what lies between, for comparisons; fp32
  Tensor class_labels;    // [N,2D] noised embeddings and level embeddings
  Tensor prompt_embeds;   // [N,T,C] of the prompt; undefined without text encoder
  Tensor unet_first;      // the network's first output: [N,4,h,w], with guidance [2N,4,h,w], unconditional rows first
  Tensor latents;         // [N,4,h,w] final
};

struct UnclipViews {
  Tensor pictures;                  // uint8 [N,H,W,3] on the CPU
  std::vector<std::string> faults;  // per picture why it is unusable (NaN, all black); "" for a good one
};

class UnclipPipeline {
 public:
  // Weights are moved to `device` and kept in `compute`. Throws Error that names the component and what is wrong with it.
  static std::shared_ptr<const UnclipPipeline> Open(const Path& folder, at::Device device = at::kCPU, at::ScalarType compute = at::kFloat);

  const Preprocess& preprocess() const { return encoder_->preprocess(); }
  int64_t embedding_width() const { return encoder_->embedding_width(); }     // D
  int64_t levels() const { return noiser_.levels(); }                         // noise levels there are
  int64_t picture_scale() const { return vae_.config.scale(); }               // pixels per latent pixel
  int64_t native_size() const { return unet_.config.sample_size * picture_scale(); }  // pixels
  std::vector<int64_t> latent_shape() const { return {unet_.config.in_channels, unet_.config.sample_size, unet_.config.sample_size}; }
  std::string scheduler_name() const { return SchedulerName(scheduler_.kind); }
  bool has_text() const { return text_ != nullptr; }
  const std::string& fingerprint() const { return fingerprint_; }             // of all configs and weights
  at::Device device() const { return device_; }

  // pixels: [N,3,S,S] of preprocess(). -> [N,D] fp32
  Tensor EncodeImages(const Tensor& pixels) const;
  // The caller holds an InferenceMode. Throws UsageError for an unknown scheduler or impossible steps.
  UnclipViews Generate(const UnclipRequest& request, UnclipTrace* trace = nullptr) const;

 private:
  UnclipPipeline() = default;
  Tensor EncodePrompts(const std::vector<std::string>& prompts) const;        // [N,T,C], undefined without text encoder
  Tensor EncodePrompt(const std::string& prompt) const;                       // [T,C], each text once
  struct Conditions {
    Tensor labels;              // [N,2D]
    Tensor guidance;            // [N,1,1,1]
    Tensor prompt, unprompted;  // [N,T,C], undefined without text encoder
    bool guided = false;        // at least one row is
    Conditions Rows(int64_t first, int64_t last) const;
  };
  Tensor Denoise(const UnclipRequest& request, const Conditions& conditions, const Tensor& latents, Tensor* first_output) const;
  Tensor Decode(const Tensor& latents) const;

  at::Device device_ = at::kCPU;
  std::shared_ptr<const Encoder> encoder_;
  struct TextEncoder {
    ClipTokenizer tokenizer;
    ClipText tower;
    // Of texts seen before, the empty one above all. A class name is a text, so there are few.
    mutable std::mutex mutex;
    mutable std::map<std::string, Tensor> known;
  };
  std::unique_ptr<const TextEncoder> text_;  // null without
  EmbeddingNoiser noiser_;
  Json scheduler_json_;          // for another class with the folder's values
  SchedulerConfig scheduler_;
  Unet unet_;
  Vae vae_;
  std::string fingerprint_;
};

// A pipeline folder without text encoder. With a CLIP tower as image encoder diffusers loads it as
// StableUnCLIPImg2ImgPipeline; with a checkpoint of this program, which is copied into it, only this program does.
struct UnclipParts {
  ClipVision* image_encoder;  // null: `checkpoint`
  Path checkpoint;
  Preprocess preprocess;      // of image_encoder; a checkpoint knows its own
  EmbeddingNoiser noiser;
  SchedulerConfig scheduler;
  Unet& unet;
  Vae& vae;
};
void WriteUnclipFolder(const UnclipParts& parts, const Path& folder, at::ScalarType dtype = at::kFloat);

}  // namespace genview
