#include "genview/models/encoder.h"

#include <algorithm>
#include <cmath>

#include <c10/core/InferenceMode.h>

#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/models/backbone_file.h"
#include "genview/models/encoder_files.h"
#include "genview/tensor/device.h"
#include "genview/tensor/loading_memory.h"
#include "genview/tensor/row_groups.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

// Weights of matrix products and convolutions in the compute type, so that autocast need not convert them at every
// call; norms, tokens and positions stay in fp32. In fp32 on the CPU blocks.h widens what is kept in 16 bits.
void Place(const WeightList& list, at::Device device, at::ScalarType compute) {
  for (const WeightRef& ref : list) {
    if (ref.role == WeightRole::kWeight && (compute != at::kFloat || !device.is_cpu()))
      *ref.tensor = ref.tensor->to(compute);
  }
  MoveWeights(list, device);
  PackLinears(list, device, compute);
}

struct Target {
  at::Device device;
  at::ScalarType compute;
  Reads reads;
};

// Found when it is asked for: all files are read for it.
std::function<std::string()> FingerprintOf(const TowerFiles& files) {
  return [paths = files.files, json = files.json, preprocess = files.preprocess] {
    std::string all = json.dump() + preprocess.ToJson().dump();
    std::vector<std::string> contents;
    for (const Path& file : paths) contents.push_back(FingerprintFile(file));
    std::sort(contents.begin(), contents.end());  // names do not matter
    for (const std::string& one : contents) all += one;
    return Fingerprint(all);
  };
}

class ClipEncoder : public Encoder {
 public:
  ClipEncoder(const TowerFiles& files, const ClipVisionConfig& c, const Target& target)
      : Encoder({.embedding_width = c.embedding_width,
                 .token_width = c.width,
                 .grid = c.grid(),
                 .any_size = false,
                 .preprocess = files.preprocess,
                 .name = Format("{} ViT, {} layers of {}", files.layout == ClipLayout::kOpenClip ? "open_clip" : "CLIP",
                                c.layers, c.width),
                 .find_fingerprint = FingerprintOf(files),
                 .device = target.device,
                 .compute = target.compute}),
        tower_(LoadClipTower(files, c, target.reads)) {
    if (KeepsContents(target.reads)) Place(ListWeights(tower_), target.device, target.compute);
  }

 private:
  Output Forward(const Tensor& pixels) const override {
    const ClipOutput out = ForwardClipVision(tower_, pixels);
    return {.embeddings = out.embedding, .tokens = out.tokens};
  }
  ClipVision tower_;
};

class ConvNextEncoder : public Encoder {
 public:
  ConvNextEncoder(const TowerFiles& files, const ConvNextConfig& c, const Target& target)
      : Encoder({.embedding_width = c.embedding_width,
                 .token_width = c.widths.back(),
                 .grid = c.grid(),
                 .any_size = true,
                 .preprocess = files.preprocess,
                 .name = Format("open_clip ConvNeXt, {} blocks up to {}",
                                c.depths[0] + c.depths[1] + c.depths[2] + c.depths[3], c.widths.back()),
                 .find_fingerprint = FingerprintOf(files),
                 .device = target.device,
                 .compute = target.compute}),
        tower_(LoadConvNextTower(files, c,
                                 std::min(target.reads, Reads::kAll))) {  // what is fused has no 16 bits any more
    if (!KeepsContents(target.reads)) return;
    FuseConvNext(tower_);
    Place(ListWeights(tower_), target.device, target.compute);
  }

 private:
  Output Forward(const Tensor& pixels) const override {
    const ConvNextOutput out = ForwardConvNext(tower_, pixels);
    return {.embeddings = out.embedding, .tokens = out.tokens};
  }
  ConvNext tower_;
};

class BackboneEncoder : public Encoder {
 public:
  BackboneEncoder(std::shared_ptr<Backbone> backbone, const Preprocess& preprocess,
                  std::function<std::string()> fingerprint, at::Device device, at::ScalarType compute)
      : Encoder({.embedding_width = backbone->width(),
                 .token_width = backbone->width(),
                 .grid = backbone->grid(preprocess.size),
                 .any_size = false,
                 .preprocess = preprocess,
                 .name = backbone->config().type,
                 .find_fingerprint = std::move(fingerprint),
                 .device = device,
                 .compute = compute}),
        backbone_(std::move(backbone)) {}

 private:
  Output Forward(const Tensor& pixels) const override {
    const BackboneOutput out =
        backbone_->Forward(pixels.contiguous(at::MemoryFormat::ChannelsLast), /*training=*/false);
    return {.embeddings = out.pooled, .tokens = out.tokens};
  }
  std::shared_ptr<Backbone> backbone_;
};

std::shared_ptr<Encoder> OpenCheckpoint(const Path& path, at::Device device, at::ScalarType compute) {
  BackboneFile file = ReadBackboneFile(path);
  std::shared_ptr<Backbone> backbone = std::move(file.encoder.backbone);
  const WeightList list = backbone->Weights();
  Place(list, device, compute);
  UseChannelsLast(list);
  // What files of other libraries do not say themselves may come from those beside them.
  const std::string beside = file.own ? "" : FieldsToJson(backbone->config()).dump() + file.preprocess.ToJson().dump();
  const auto fingerprint = [path, beside] {
    const std::string contents = FingerprintFile(path);
    return beside.empty() ? contents : Fingerprint(beside + contents);
  };
  return std::make_shared<BackboneEncoder>(backbone, file.preprocess, fingerprint, device, compute);
}

}  // namespace

std::shared_ptr<Encoder> Encoder::Open(const Path& given, at::Device device, at::ScalarType compute, Reads reads) {
  const EncoderPlace place = FindEncoder(given);
  const LoadingMemory loading;
  if (place.kind == EncoderKind::kCheckpoint) return OpenCheckpoint(place.path, device, compute);
  return OpenTower(ReadTowerFiles(place), device, compute, reads);
}

std::shared_ptr<Encoder> OpenTower(const TowerFiles& files, at::Device device, at::ScalarType compute, Reads reads) {
  const Target target{device, compute, KeepsContents(reads) ? ContentsFor(compute) : reads};
  if (const auto* config = std::get_if<ConvNextConfig>(&files.config))
    return std::make_shared<ConvNextEncoder>(files, *config, target);
  return std::make_shared<ClipEncoder>(files, std::get<ClipVisionConfig>(files.config), target);
}

const std::string& Encoder::fingerprint() const {
  std::call_once(fingerprint_found_, [&] { fingerprint_ = facts_.find_fingerprint(); });
  return fingerprint_;
}

bool Encoder::Takes(int64_t size) const {
  const int64_t own = preprocess().size;
  return size == own || (facts_.any_size && 2 * size >= own && size <= 2 * own);
}

Encoder::Output Encoder::Encode(const Tensor& pixels, bool tokens) const {
  const bool other = pixels.dim() == 4 && Takes(pixels.size(2));
  const int64_t size = other ? pixels.size(2) : preprocess().size;
  ExpectShape(pixels, {-1, 3, size, size}, "pixels");
  const auto encode = [&](const Tensor& rows) {
    const ComputeScope scope(device(), compute());
    Output out = Forward(rows.to(device()));
    out.embeddings = out.embeddings.to(at::kFloat);
    out.tokens = tokens ? out.tokens.to(at::kFloat) : Tensor();
    return out;
  };
  const int64_t own = preprocess().size, rows = pixels.size(0);
  const int64_t most = std::max<int64_t>(1, EncodeBatchSize(*this, 0) * own * own / (8 * size * size));
  if (!device().is_cpu() || rows <= most || !c10::InferenceMode::is_enabled()) return encode(pixels);
  const int64_t group = EvenGroup(rows, most);
  std::vector<Tensor> embeddings(static_cast<size_t>(GroupCount(rows, group))), maps(embeddings.size());
  ForEachRowGroup(rows, group, device(), [&](int64_t first, int64_t last, int64_t index) {
    const Output out = encode(pixels.slice(0, first, last));
    embeddings[static_cast<size_t>(index)] = out.embeddings;
    maps[static_cast<size_t>(index)] = out.tokens;
  });
  return {.embeddings = at::cat(embeddings), .tokens = tokens ? at::cat(maps) : Tensor()};
}

int64_t EncodeBatchSize(const Encoder& encoder, int64_t asked) {
  if (asked > 0) return asked;
  const int64_t pixels = (encoder.device().is_cpu() ? 32 : 256) * int64_t{224 * 224};
  return std::clamp<int64_t>(pixels / (encoder.preprocess().size * encoder.preprocess().size), 1, 256);
}

std::shared_ptr<Encoder> EncoderOf(std::shared_ptr<Backbone> backbone, const Preprocess& preprocess,
                                   std::string fingerprint, at::Device device, at::ScalarType compute) {
  return std::make_shared<BackboneEncoder>(
      std::move(backbone), preprocess, [fingerprint = std::move(fingerprint)] { return fingerprint; }, device, compute);
}

}  // namespace genview
