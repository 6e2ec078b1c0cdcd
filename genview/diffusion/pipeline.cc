#include "genview/diffusion/pipeline.h"

#include <algorithm>

#include <ATen/Parallel.h>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/diffusion/generator_files.h"
#include "genview/tensor/device.h"
#include "genview/tensor/loading_memory.h"
#include "genview/tensor/row_groups.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

// text: the width of the text encoder's output, 0 without one.
void CheckFit(const UnetConfig& unet, const VaeConfig& vae, int64_t width, int64_t text, const Path& place) {
  const auto fail = [&](const std::string& what) {
    throw Error({.what = what, .where = place.string(), .next = "check that all components come from one pipeline"});
  };
  if (unet.class_width != 2 * width) {
    fail(Format("the image encoder gives embeddings of {}, so the UNet's class vector must have {}, not {}", width,
                2 * width, unet.class_width));
  }
  if (unet.in_channels != vae.latent_channels || unet.out_channels != vae.latent_channels) {
    fail(Format("the UNet has {} channels in and {} out, the autoencoder's latents {}", unet.in_channels,
                unet.out_channels, vae.latent_channels));
  }
  if (vae.out_channels != 3) fail(Format("the autoencoder makes pictures of {} channels", vae.out_channels));
  if (!unet.HasCrossAttention()) return;
  if (text == 0) fail("the UNet attends to a text, but the pipeline has no text encoder");
  for (const int64_t wanted : unet.cross_attention_dim) {
    if (wanted != text) fail(Format("the UNet attends to texts of width {}, the text encoder gives {}", wanted, text));
  }
}

// Of a batch of `rows`, those that are denoised together on the CPU: few enough to keep a thread's activations near it.
int64_t RowsAtOnce(const std::vector<int64_t>& latent_shape, int64_t rows) {
  const int64_t most = std::clamp<int64_t>(1024 / std::max<int64_t>(1, latent_shape[1] * latent_shape[2]), 1, 16);
  return EvenGroup(rows, most);
}

// The same for latents [N,4,h,w].
int64_t GroupOf(const Tensor& latents, bool one_by_one) {
  return one_by_one ? 1 : RowsAtOnce(latents.sizes().slice(1).vec(), latents.size(0));
}

// What `work` makes of the rows of every group, one below the other. A GPU takes all as one group, unless a group is
// one row.
template <class Work>
Tensor InGroups(int64_t rows, int64_t group, at::Device device, Work&& work) {
  std::vector<Tensor> parts(static_cast<size_t>(GroupCount(rows, group)));
  const auto one = [&](int64_t first, int64_t last, int64_t index) {
    parts[static_cast<size_t>(index)] = work(first, last, index);
  };
  if (group == 1 && !device.is_cpu()) {
    for (int64_t row = 0; row < rows; ++row) one(row, row + 1, row);
  } else {
    ForEachRowGroup(rows, group, device, one);
  }
  std::erase_if(parts, [](const Tensor& part) { return !part.defined(); });
  return at::cat(parts);
}

// In fp32 on the CPU blocks.h widens what is kept in 16 bits.
void Place(const WeightList& list, at::Device device, at::ScalarType compute) {
  if (compute != at::kFloat || !device.is_cpu()) ConvertWeights(list, compute);
  MoveWeights(list, device);
  PackLinears(list, device, compute);
}

void WriteClipTower(ClipVision& tower, const Preprocess& p, const Path& folder, at::ScalarType dtype) {
  WriteSafetensors(folder / "image_encoder" / "model.safetensors", ClipTensors(tower, ClipLayout::kHuggingFace, dtype),
                   {{"format", "pt"}});
  WriteJson(folder / "image_encoder" / "config.json", ClipConfigToHuggingFace(tower.config));
  const Path rules = folder / "feature_extractor" / "preprocessor_config.json";
  WriteJson(rules, PreprocessToHuggingFace(p, rules.string()));
}

}  // namespace

bool UnclipPipeline::HasTiles(const std::vector<int64_t>& shape) const {
  return std::max(shape[1], shape[2]) > VaeTileSide(vae_config_);
}

int64_t UnclipPipeline::PicturesAtOnce(const std::vector<int64_t>& shape, bool tiles) const {
  const int64_t side = tiles ? VaeTileSide(vae_config_) : INT64_MAX;
  return VaePicturesAtOnce(std::min(shape[1], side) * std::min(shape[2], side) * picture_scale() * picture_scale());
}

uint64_t UnclipPipeline::DecodeBytes(const std::vector<int64_t>& shape, int64_t rows) const {
  const int64_t group = device_.is_cpu() ? RowsAtOnce(shape, rows) : rows, groups = GroupCount(rows, group);
  const int64_t at_once = groups >= at::get_num_threads() && device_.is_cpu() ? at::get_num_threads() : 1;
  const auto pictures =
      static_cast<uint64_t>(at_once * std::min({rows, group, PicturesAtOnce(shape, /*tiles=*/false)}));
  return pictures * DecodeVaeBytes(vae_config_, shape[1], shape[2]) * at::elementSize(compute_) /
         at::elementSize(at::kFloat);
}

template <class T>
std::shared_ptr<const T> UnclipPipeline::Need(const Part<T>& part) const {
  const std::lock_guard lock(parts_mutex_);
  if (part.held == nullptr) {
    if (!keep_all_) LetGo();
    const LoadingMemory loading;
    part.held = part.read();
  }
  return part.held;
}

void UnclipPipeline::LetGo() const {
  encoder_.held.reset();
  text_tower_.held.reset();
  unet_.held.reset();
  vae_.held.reset();
  ReturnFreedMemory();
}

namespace {

// bytes: of all networks but the image tower.
bool KeepsAll(Residency residency, at::Device device, double bytes) {
  constexpr double kSmall = 512.0 * (1 << 20);
  if (residency != Residency::kAuto) return residency == Residency::kAll;
  if (device.is_cpu()) return bytes <= kSmall;
  const uint64_t free = FreeMemoryBytes(device);
  return free == 0 || 2 * bytes <= static_cast<double>(free);
}

}  // namespace

std::shared_ptr<const UnclipPipeline> UnclipPipeline::Open(const Path& place, at::Device device, at::ScalarType compute,
                                                           Residency residency) {
  const auto files = GeneratorFiles::Open(place);
  std::shared_ptr<UnclipPipeline> p(new UnclipPipeline);
  p->device_ = device;
  p->compute_ = compute;
  // What does not fit together is said before anything is read.
  const auto count = [](auto&& network) { return CountParameters(ListWeights(network)); };
  int64_t parameters = 0, text_width = 0;
  Unet unet_names = files->ReadUnet(Reads::kNames);
  Vae vae_names = files->ReadVae(Reads::kNames);
  p->unet_config_ = unet_names.config;
  p->vae_config_ = vae_names.config;
  parameters += count(unet_names) + count(vae_names);
  if (files->has_text()) {
    ClipText tower = files->ReadText(Reads::kNames);
    text_width = tower.config.width;
    parameters += count(tower);
    p->text_.reset(new Text{files->ReadTokenizer(tower.config), tower.config.positions, {}, {}});
  }
  GeneratorFiles::Scheduler scheduler = files->ReadScheduler();
  p->scheduler_json_ = std::move(scheduler.json);
  p->scheduler_where_ = std::move(scheduler.where);
  p->keep_all_ =
      KeepsAll(residency, device, static_cast<double>(parameters) * static_cast<double>(at::elementSize(compute)));

  const auto placed = [device, compute](auto network) {
    Place(ListWeights(network), device, compute);
    return std::make_shared<const decltype(network)>(std::move(network));
  };
  p->encoder_.read = [files, device, compute] { return files->OpenEncoder(device, compute, Reads::kAsStored); };
  const Reads reads = ContentsFor(compute);
  p->text_tower_.read = [files, placed, reads] { return placed(files->ReadText(reads)); };
  p->unet_.read = [files, placed, reads] { return placed(files->ReadUnet(reads)); };
  p->vae_.read = [files, placed, reads] { return placed(files->ReadVae(reads)); };
  if (p->keep_all_) {
    p->Need(p->vae_);
    p->Need(p->unet_);
    if (p->text_ != nullptr) p->Need(p->text_tower_);
  } else {  // the autoencoder is needed last, after hours perhaps: what is wrong with it must show now
    files->ReadVae(Reads::kChecked);
  }
  const auto encoder = p->keep_all_ ? p->Need(p->encoder_) : files->OpenEncoder(device, compute, Reads::kNames);
  p->preprocess_ = encoder->preprocess();
  p->embedding_width_ = encoder->embedding_width();
  CheckFit(p->unet_config_, p->vae_config_, p->embedding_width_, text_width, files->path());
  p->noiser_ = files->ReadNoiser(p->embedding_width_);
  p->fingerprint_ = std::async(std::launch::async, [files] { return files->Fingerprint(); }).share();
  return p;
}

Tensor UnclipPipeline::EncodeImages(const Tensor& pixels, bool one_by_one) const {
  const auto encoder = Need(encoder_);
  std::vector<Tensor> embeddings;
  for (const Tensor& some : pixels.split(one_by_one ? 1 : std::max<int64_t>(1, pixels.size(0)))) {
    embeddings.push_back(encoder->Encode(some.to(device_), /*tokens=*/false).embeddings);
  }
  return at::cat(embeddings);
}

UnclipViews UnclipPipeline::Generate(const UnclipRequest& r, UnclipTrace* trace) const {
  const int64_t n = r.embeddings.size(0);
  ExpectShape(r.embeddings, {-1, embedding_width()}, "embeddings");
  ExpectShape(r.embedding_noise, {n, embedding_width()}, "embedding noise");
  ExpectShape(r.latents, {n, unet_config_.in_channels, -1, -1}, "latents");
  GENVIEW_CHECK(static_cast<int64_t>(r.levels.size()) == n && static_cast<int64_t>(r.guidance.size()) == n,
                "one level and one scale per image");
  GENVIEW_CHECK(r.prompts.empty() || static_cast<int64_t>(r.prompts.size()) == n, "one prompt per image, or none");
  for (const int64_t level : r.levels) GENVIEW_CHECK(level >= 0 && level < levels(), "a noise level is out of range");

  Conditions all;
  all.labels = noiser_.ClassVectors(r.embeddings.to(device_, at::kFloat), at::tensor(r.levels),
                                    r.embedding_noise.to(device_, at::kFloat));
  all.guidance = at::tensor(r.guidance, at::kFloat).to(device_).view({n, 1, 1, 1});
  all.guided = std::any_of(r.guidance.begin(), r.guidance.end(), [](double g) { return g > 1; });
  const std::vector<std::string> none(static_cast<size_t>(n));
  all.prompt = EncodePrompts(r.prompts.empty() ? none : r.prompts);
  if (all.guided && all.prompt.defined()) all.unprompted = EncodePrompt(r.negative_prompt).expand_as(all.prompt);
  const int64_t group = GroupOf(r.latents, r.one_by_one);
  std::vector<Tensor> first_of(static_cast<size_t>(GroupCount(n, group)));
  const Tensor latents = [&] {
    const auto unet = Need(unet_);
    return InGroups(n, group, device_, [&](int64_t first, int64_t last, int64_t index) {
      return Denoise(*unet, r, all.Rows(first, last), r.latents.slice(0, first, last),
                     trace != nullptr ? &first_of[static_cast<size_t>(index)] : nullptr);
    });
  }();
  const Tensor decoded = Decode(latents, r.tiles, r.one_by_one);  // [N,3,H,W]
  const Tensor finite =
      at::isfinite(latents).flatten(1).all(1).logical_and(at::isfinite(decoded).flatten(1).all(1)).cpu();
  const Tensor unit = (at::nan_to_num(decoded) * 0.5 + 0.5).clamp(0, 1);
  // Halves to even, as numpy rounds.
  UnclipViews views{(unit * 255).round().to(at::kByte).permute({0, 2, 3, 1}).contiguous().cpu(), {}};
  const Tensor brightest = views.pictures.flatten(1).amax(1);
  for (int64_t i = 0; i < n; ++i) {
    views.faults.push_back(!finite[i].item<bool>()             ? "not a number"
                           : brightest[i].item<uint8_t>() == 0 ? "all black"
                                                               : "");
  }
  if (trace != nullptr) {
    trace->class_labels = all.labels.cpu();
    trace->latents = latents.cpu();
    if (all.prompt.defined()) trace->prompt_embeds = all.prompt.to(at::kFloat).contiguous().cpu();
    std::vector<Tensor> halves[2];  // unconditional rows first
    for (const Tensor& part : first_of) {
      if (!part.defined()) continue;
      const auto chunks = part.chunk(all.guided ? 2 : 1);
      for (size_t half = 0; half < chunks.size(); ++half) halves[half].push_back(chunks[half]);
    }
    halves[0].insert(halves[0].end(), halves[1].begin(), halves[1].end());
    trace->unet_first = at::cat(halves[0]).contiguous().cpu();
  }
  return views;
}

Tensor UnclipPipeline::EncodePrompts(const std::vector<std::string>& prompts) const {
  if (text_ == nullptr) return {};
  std::vector<Tensor> rows;
  for (const std::string& prompt : prompts) rows.push_back(EncodePrompt(prompt));
  return at::stack(rows);
}

Tensor UnclipPipeline::EncodePrompt(const std::string& prompt) const {
  const std::lock_guard lock(text_->mutex);
  constexpr size_t kMostKnown = 1024;
  if (const auto found = text_->known.find(prompt); found != text_->known.end()) return found->second;
  const int64_t length = std::min(text_->tokenizer.max_length(), text_->positions);
  const std::vector<int64_t> ids = text_->tokenizer.Encode(prompt, length);
  if (text_->known.size() >= kMostKnown) text_->known.clear();
  return text_->known[prompt] = ForwardClipText(*Need(text_tower_), at::tensor(ids).to(device_).unsqueeze(0))[0];
}

UnclipPipeline::Conditions UnclipPipeline::Conditions::Rows(int64_t first, int64_t last) const {
  const auto rows = [&](const Tensor& t) { return t.defined() ? t.slice(0, first, last) : t; };
  return {rows(labels), rows(guidance), rows(prompt), rows(unprompted), guided};
}

SchedulerConfig UnclipPipeline::SchedulerOf(const std::string& name) const {
  return ParseSchedulerConfig(scheduler_json_, name, scheduler_where_);
}

std::unique_ptr<Scheduler> UnclipPipeline::SchedulerFor(const std::string& name, int64_t steps) const {
  return MakeScheduler(SchedulerOf(name), steps);
}

Tensor UnclipPipeline::Denoise(const Unet& unet, const UnclipRequest& r, const Conditions& c, const Tensor& latents,
                               Tensor* first_output) const {
  const auto twice = [&](const Tensor& t) { return c.guided ? at::cat({t, t}) : t; };
  // Unconditional rows first; their class vector is zero, level embedding and all.
  const Tensor classes = c.guided ? at::cat({at::zeros_like(c.labels), c.labels}) : c.labels;
  const Tensor prompt = c.guided && c.prompt.defined() ? at::cat({c.unprompted, c.prompt}) : c.prompt;
  const auto scheduler = SchedulerFor(r.scheduler, r.steps);

  Tensor x = latents.to(device_, at::kFloat) * (r.latents_as_given ? 1.0 : scheduler->initial_sigma());
  for (size_t call = 0; call < scheduler->times().size(); ++call) {
    const Tensor both = twice(scheduler->ScaleInput(x));
    const Tensor times = at::full({both.size(0)}, scheduler->times()[call], both.options().dtype(at::kFloat));
    Tensor out = ForwardUnet(unet, both, times, classes, prompt).to(at::kFloat);
    if (first_output != nullptr && call == 0) *first_output = out;
    if (c.guided) {
      const auto halves = out.chunk(2);
      out = at::where(c.guidance > 1, halves[0] + c.guidance * (halves[1] - halves[0]), halves[1]);
    }
    x = scheduler->Step(out, x);
  }
  return x.contiguous();
}

Tensor UnclipPipeline::Decode(const Tensor& latents, bool tiles, bool one_by_one) const {
  const auto vae = Need(vae_);
  const std::vector<int64_t> shape = latents.sizes().slice(1).vec();
  const int64_t at_once = PicturesAtOnce(shape, tiles);
  return InGroups(latents.size(0), GroupOf(latents, one_by_one), device_, [&](int64_t first, int64_t last, int64_t) {
    std::vector<Tensor> pictures;
    for (const Tensor& some : latents.slice(0, first, last).split(at_once)) {
      const Tensor unscaled = some.to(device_) / vae_config_.scaling_factor;
      pictures.push_back(tiles ? DecodeVaeInTiles(*vae, unscaled) : DecodeVae(*vae, unscaled).to(at::kFloat));
    }
    return at::cat(pictures);
  });
}

void UnclipPipeline::ReadUnet() const { Need(unet_); }

Tensor UnclipPipeline::CallUnet(const Tensor& latents, bool guided) const {
  const auto unet = Need(unet_);
  const int64_t rows = latents.size(0) * (guided ? 2 : 1);
  const auto noise = [&](const char* purpose, at::IntArrayRef shape) {
    return NormalTensor(Seed(0).With(purpose), shape).to(device_);
  };
  const Tensor x = guided ? at::cat({latents, latents}).to(device_) : latents.to(device_);
  const Tensor classes = noise("classes", {rows, unet_config_.class_width}),
               times = at::full({rows}, 500.0, x.options());
  const Tensor prompt =
      text_ != nullptr ? noise("prompt", {rows, text_->positions, unet_config_.cross_attention_dim.front()}) : Tensor();
  const int64_t group = GroupOf(latents, /*one_by_one=*/false) * (guided ? 2 : 1);
  return InGroups(rows, group, device_, [&](int64_t first, int64_t last, int64_t) {
    const auto of = [&](const Tensor& t) { return t.defined() ? t.slice(0, first, last) : t; };
    return ForwardUnet(*unet, of(x), of(times), of(classes), of(prompt)).to(at::kFloat);
  });
}

// A folder without it is no pipeline. A power cut does not bring it back beside parts that have been replaced.
static void RemoveIndex(const Path& folder) {
  const Path index = folder / "model_index.json";
  std::error_code code;
  const bool was_there = std::filesystem::remove(index, code);
  if (code) {
    throw Error({.what = Format("cannot remove the file: {}", code.message()),
                 .where = index.string(),
                 .next = "give the right to change this folder, or choose another"});
  }
  if (was_there) SyncFileSystem(folder);
}

void WriteUnclipFolder(const UnclipParts& parts, const Path& folder, at::ScalarType dtype) {
  RemoveIndex(folder);
  WriteUnetFolder(parts.unet, folder / "unet", dtype);
  WriteVaeFolder(parts.vae, folder / "vae", dtype);
  WriteEmbeddingNoiser(parts.noiser, folder);
  WriteJson(folder / "scheduler" / "scheduler_config.json", SchedulerConfigToJson(parts.scheduler));
  if (parts.image_encoder != nullptr) {
    WriteClipTower(*parts.image_encoder, parts.preprocess, folder, dtype);
  } else {
    WriteFile(folder / "image_encoder" / "encoder.safetensors", MappedFile(parts.checkpoint).text());
  }
  const auto diffusers = [](const std::string& name) { return Json::array({"diffusers", name}); };
  const Json none = Json::array({nullptr, nullptr});
  const bool clip = parts.image_encoder != nullptr;
  WriteJson(folder / "model_index.json",  // last
            {{"_class_name", kUnclipClass},
             {"_diffusers_version", kDiffusersVersion},
             {"feature_extractor", clip ? Json::array({"transformers", "CLIPImageProcessor"}) : none},
             {"image_encoder", clip ? Json::array({"transformers", kUnclipClipClass})
                                    : Json::array({"genview", kUnclipCheckpointClass})},
             {"image_normalizer", Json::array({"stable_diffusion", "StableUnCLIPImageNormalizer"})},
             {"image_noising_scheduler", diffusers("DDPMScheduler")},
             {"scheduler", diffusers(SchedulerName(parts.scheduler.kind))},
             {"text_encoder", none},
             {"tokenizer", none},
             {"unet", diffusers("UNet2DConditionModel")},
             {"vae", diffusers("AutoencoderKL")}});
}

void SweepUnclipFolder(const Path& folder) {
  for (const char* component : {"", "feature_extractor", "image_encoder", "image_noising_scheduler", "image_normalizer",
                                "scheduler", "unet", "vae"})
    SweepPartFiles(folder / component);
}

}  // namespace genview
