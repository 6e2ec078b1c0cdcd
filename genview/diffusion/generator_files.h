// What a generator is read from: a pipeline folder as diffusers writes it, or Stable unCLIP 2-1 in the one file that
// its authors publish (models/ldm.h).
//
//   auto files = GeneratorFiles::Open("sd21-unclip-h.safetensors");
//   Unet unet = files->ReadUnet(Reads::kAll);
#pragma once

#include <memory>
#include <string>

#include "genview/base/json.h"
#include "genview/diffusion/noising.h"
#include "genview/models/clip_text.h"
#include "genview/models/clip_tokenizer.h"
#include "genview/models/encoder.h"
#include "genview/models/unet.h"
#include "genview/models/vae.h"

namespace genview {

// Names in model_index.json.
inline constexpr const char *kUnclipClass = "StableUnCLIPImg2ImgPipeline",
                            *kUnclipClipClass = "CLIPVisionModelWithProjection",
                            // image_encoder/encoder.safetensors, a checkpoint of this program
                                *kUnclipCheckpointClass = "GenViewEncoder";

class GeneratorFiles {
 public:
  // Throws Error for what is no generator, before any weights are read.
  static std::shared_ptr<const GeneratorFiles> Open(const Path& folder_or_file);
  virtual ~GeneratorFiles() = default;

  // Each throws Error that names its place in the folder or file.
  virtual Unet ReadUnet(Reads reads) const = 0;
  virtual Vae ReadVae(Reads reads) const = 0;
  virtual bool has_text() const = 0;
  virtual ClipText ReadText(Reads reads) const = 0;
  virtual ClipTokenizer ReadTokenizer(const ClipTextConfig& tower) const = 0;  // of tokens that the tower has
  virtual std::shared_ptr<const Encoder> OpenEncoder(at::Device device, at::ScalarType compute, Reads reads) const = 0;
  virtual EmbeddingNoiser ReadNoiser(int64_t width) const = 0;
  struct Scheduler {
    Json json;  // as scheduler_config.json
    std::string where;
  };
  virtual Scheduler ReadScheduler() const = 0;
  virtual std::string Fingerprint() const = 0;  // of all that has a part in the result; reads it

  const Path& path() const { return path_; }

 protected:
  explicit GeneratorFiles(Path path) : path_(std::move(path)) {}
  const Path path_;
};

}  // namespace genview
