// Any frozen image encoder, whatever folder or file it comes from.
//
//   auto encoder = Encoder::Open("models/ViT-H-14", device, ChooseCompute(Precision::kAuto, device));
//   c10::InferenceMode guard;
//   Encoder::Output out = encoder->Encode(pixels, /*tokens=*/true);    // pixels: made with encoder->preprocess()
//
// Understood are: a folder of open_clip (open_clip_config.json), a folder of Hugging Face's CLIP (config.json), a
// diffusers pipeline folder with an image_encoder, Stable unCLIP in one file (ldm.h), and a checkpoint of this program
// (.safetensors with metadata `genview`, or a folder with such a file named encoder.safetensors). Files of other
// libraries: what backbone_file.h reads.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "genview/image/preprocess.h"
#include "genview/models/backbone.h"
#include "genview/models/clip_vision.h"

namespace genview {

// What an encoder says of itself. No member has a value of its own, so that the compiler names a forgotten one.
struct EncoderFacts {
  int64_t embedding_width, token_width, grid;
  bool any_size;  // of pictures: it is made of convolutions alone
  Preprocess preprocess;
  std::string name;
  std::function<std::string()> find_fingerprint;
  at::Device device;
  at::ScalarType compute;
};

class Encoder {
 public:
  // Weights are moved to `device`; those of matrix products and convolutions are kept in `compute`, or in the 16 bits
  // of their file where blocks.h can compute with them. Throws Error that says what is missing and what was found.
  // Where `reads` keeps no contents, folders of CLIP are described and checked so far, and nothing can be encoded.
  static std::shared_ptr<Encoder> Open(const Path& folder_or_file, at::Device device = at::kCPU,
                                       at::ScalarType compute = at::kFloat, Reads reads = Reads::kAsStored);
  virtual ~Encoder() = default;

  struct Output {
    Tensor embeddings;  // [N,D] fp32 on the encoder's device, not normalised
    Tensor tokens;      // [N,T,C] fp32, row-major grid; undefined if not asked for
  };
  // pixels: [N,3,S,S] of preprocess(), or of another size that it takes. Gradients, or inference mode, are the caller's
  // choice.
  Output Encode(const Tensor& pixels, bool tokens) const;
  // Whether pictures of this size can be encoded as they are; T is then another one. From half its own size on, since
  // of less a map would have hardly a token.
  bool Takes(int64_t size) const;

  int64_t embedding_width() const { return facts_.embedding_width; }  // D
  int64_t token_width() const { return facts_.token_width; }          // C
  int64_t grid() const { return facts_.grid; }                        // T = grid * grid
  const Preprocess& preprocess() const { return facts_.preprocess; }
  const std::string& name() const { return facts_.name; }  // for people: "open_clip ViT, 32 layers of 1280"
  // Changes when weights, config or preprocess change; not when files are moved. Of a checkpoint of this program: of
  // the file's contents. All files are read for it when it is first asked for.
  const std::string& fingerprint() const;
  at::Device device() const { return facts_.device; }
  at::ScalarType compute() const { return facts_.compute; }  // that its results are rounded by

 protected:
  explicit Encoder(EncoderFacts facts) : facts_(std::move(facts)) {}
  virtual Output Forward(const Tensor& pixels) const = 0;  // of any kind of number; tokens always

 private:
  const EncoderFacts facts_;
  mutable std::once_flag fingerprint_found_;
  mutable std::string fingerprint_;
};

// Pictures per call where the user leaves it open (asked = 0): as many as keep the machine busy without filling its
// memory.
int64_t EncodeBatchSize(const Encoder& encoder, int64_t asked);

// A backbone that is in memory, for example in the middle of its training, as an encoder. Its weights are used as they
// are, where they are; the backbone must not be in use elsewhere meanwhile.
std::shared_ptr<Encoder> EncoderOf(std::shared_ptr<Backbone> backbone, const Preprocess& preprocess,
                                   std::string fingerprint, at::Device device = at::kCPU,
                                   at::ScalarType compute = at::kFloat);

// `preprocess_cfg` of open_clip_config.json; missing members are open_clip's defaults with the tower's size.
Preprocess PreprocessFromOpenClip(const Json& config, int64_t image_size, std::string_view where);
// preprocessor_config.json of a CLIPImageProcessor; missing members are its defaults with the tower's size.
Preprocess PreprocessFromHuggingFace(const Json& config, int64_t image_size, std::string_view where);
// Throws Error for what such a processor cannot do.
Json PreprocessToHuggingFace(const Preprocess& preprocess, std::string_view where);

}  // namespace genview
