#include "genview/views/generate.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "genview/base/folder_lock.h"
#include "genview/base/hash.h"
#include "genview/data/ordered_batches.h"
#include "genview/data/source.h"
#include "genview/diffusion/picture_tensors.h"
#include "genview/diffusion/pipeline.h"
#include "genview/records/records.h"
#include "genview/tensor/device.h"
#include "genview/views/batch_size.h"
#include "genview/views/noise_levels.h"
#include "genview/views/one_behind.h"
#include "genview/views/request.h"
#include "genview/views/view_dump.h"
#include "genview/views/view_folder.h"
#include "genview/views/view_noise.h"
#include "genview/views/view_picture.h"
#include "genview/views/wanted_rows.h"

namespace genview {
namespace {

// One view of a batch: where it belongs and the picture it is made from, as the image encoder sees it.
struct Slot {
  int64_t view = 0;     // image * per_image + k
  Tensor pixels;        // [3,S,S]; undefined where the picture cannot be used
  std::string fault;    // why it cannot
  std::string picture;  // fingerprint of its file
};
using Batch = std::vector<Slot>;

// What is computed of a batch, row by row.
struct Made {
  UnclipViews views;
  Tensor embeddings;          // [N,D] of the image encoder
  UnclipTrace trace;          // with --dump
  std::vector<bool> retried;  // in fp32
};

// How views were made that take the places `rows` of a batch. With guidance the conditional outputs come last; views
// without may have been among others with it.
void TakeRows(const Tensor& rows, const UnclipTrace& again, UnclipTrace& trace) {
  const auto take = [&](const Tensor& to, const Tensor& from) {
    if (to.defined()) to.index_copy_(0, rows, from);
  };
  take(trace.class_labels, again.class_labels);
  take(trace.prompt_embeds, again.prompt_embeds);
  take(trace.latents, again.latents);
  const Tensor &all = trace.unet_first, &some = again.unet_first;
  const int64_t n = trace.latents.size(0), m = rows.size(0);
  take(all.slice(0, all.size(0) - n), some.slice(0, some.size(0) - m));
  if (all.size(0) > n && some.size(0) > m) take(all.slice(0, 0, n), some.slice(0, 0, m));
}

class ViewsRun {
 public:
  ViewsRun(const ViewsConfig& config, Progress& progress, Group& group);
  ViewsSummary Run();

 private:
  std::vector<ViewRow> RowsToMake() const;
  Json Settings(bool tiles) const;
  bool ChooseTiles() const;
  std::vector<int64_t> ViewsToCompute() const;
  std::vector<int64_t> ViewsOfOtherPictures() const;
  void FillSlot(Slot& slot, int64_t view) const;
  int64_t MakeBatch(Batch& batch);
  std::optional<Made> TryToMake(const Batch& batch);
  Made Generate(const UnclipPipeline& pipeline, const Batch& batch) const;
  void MakeAgainInFp32(const Batch& batch, Made& made);
  void KeepForDump(const Batch& batch, const Made& made);
  int64_t CountToWrite(const Batch& batch, const Made& made) const;
  void WriteBatch(const Batch& batch, const Made& made);
  void LeaveOut(int64_t view, const std::string& reason);
  void LeaveOutLost(int64_t view);
  std::string LostReason(const ViewRow& row) const;
  bool Gathered();
  void CheckPrompts() const;
  void CheckDump() const;
  int64_t ImageOf(int64_t view) const { return view / config_.per_image; }
  bool IsToMake(int64_t view) const { return !folder_->Has(view) && !folder_->IsLost(view); }
  bool IsToWrite(const Batch& batch, const Made& made, size_t i) const {
    return made.views.faults[i].empty() && IsToMake(batch[i].view);
  }
  const SourceItem& ItemOf(int64_t view) const { return source_->item(ImageOf(view)); }

  ViewsConfig config_;
  Progress& progress_;
  Group& group_;
  std::shared_ptr<const ImageSource> source_;
  NoiseLevels levels_;
  at::Device device_;
  at::ScalarType compute_;
  std::shared_ptr<const UnclipPipeline> pipeline_, exact_;  // exact_: fp32, opened when it is needed
  std::optional<ViewNoiseSource> noise_;
  std::optional<ViewFolder> folder_;
  std::optional<ViewDump> dump_;
  bool tiles_ = false;
  size_t at_once_ = SIZE_MAX;  // views of a batch that memory does for
  SkippedLog skipped_;
  ViewsSummary summary_;
  OneBehind writer_;  // last: it ends before what it writes to
};

ViewsRun::ViewsRun(const ViewsConfig& config, Progress& progress, Group& group)
    : config_(config),
      progress_(progress),
      group_(group),
      levels_(NoiseLevels::Open(config)),
      device_(ChooseDevice(config.run.device)),
      compute_(ComputeOf(config, device_)) {
  const Json request = ViewsRequest(config_);
  source_ = OpenSource(config_.images);
  if (group_.rank() == 0) WarnOfOtherFormats(*source_, progress_);
  pipeline_ = UnclipPipeline::Open(config_.generator, device_, compute_, config_.keep);
  CheckLevels(levels_, *pipeline_);
  (void)pipeline_->SchedulerFor(config_.scheduler, config_.steps);  // throws
  if (group_.rank() == 0) CheckDump();
  summary_.asked = source_->size() * config_.per_image;
  summary_.folder = config_.out;
  noise_.emplace(config_.noise, summary_.asked, pipeline_->latent_shape(), pipeline_->embedding_width());
  if (config_.run.batch == 0) config_.run.batch = AutoViewBatch(device_, noise_->latent_shape());
  // Which pictures are computed together is the same in all processes: process 0 says it, whatever machines the others
  // have.
  if (!ParseInt(group_.Broadcast(std::to_string(config_.run.batch)), config_.run.batch))
    GENVIEW_CHECK(false, "no batch size");
  tiles_ = group_.Broadcast(ChooseTiles() ? "tiles" : "") == "tiles";
  if (!config_.dump.empty()) dump_.emplace();
  CheckPrompts();
  std::vector<ViewRow> wanted = RowsToMake();
  if (group_.rank() == 0) {
    folder_.emplace(config_.out, Settings(tiles_), std::move(wanted), /*redo=*/dump_.has_value(), config_.per_shard,
                    config_.forget);
    folder_->Drop(ViewsOfOtherPictures());
    if (folder_->replaced() > 0 && !dump_)
      progress_.Warn(Format("{} views that were there are made again or dropped", folder_->replaced()));
    WriteJson(config_.out / "request.json", request);
  }
  group_.Broadcast("");  // the folder is as it should be
  if (group_.rank() != 0) folder_.emplace(config_.out, std::move(wanted), group_.rank(), config_.per_shard);
  group_.Barrier();  // nothing is added before all have seen what is there, so that all count the same turns
}

// What cannot be written, or must not be written over, is said before views that are there are made again.
void ViewsRun::CheckDump() const {
  if (config_.dump.empty()) return;
  RefuseToReplace(config_.dump);
  RefuseToOverwrite(*source_, {config_.dump});
  RefuseToReplaceInput(config_.dump, {config_.images, config_.ratios, config_.noise}, "--dump");
}

void ViewsRun::CheckPrompts() const {
  const auto refuse = [](const std::string& what, const std::string& next) {
    throw UsageError({.what = what, .where = "prompt, negative_prompt, ratios", .next = next});
  };
  const auto need_text = [&] {
    if (!pipeline_->has_text())
      refuse("the generator has no text encoder", "leave the prompts away, or give a generator that reads text");
    if (!pipeline_->reads_prompts())
      refuse("the generator is a single file, which holds no vocabulary to read prompts with",
             "leave the prompts away, or give it as a folder with tokenizer/");
  };
  if (!config_.negative_prompt.empty()) need_text();
  for (int64_t i = 0; i < source_->size(); ++i) {
    const std::string prompt = levels_.PromptFor(source_->item(i), source_->classes());
    if (!prompt.empty()) need_text();
    if (source_->item(i).label < 0 && prompt.find(kClassMark) != std::string::npos) {
      refuse(Format("the prompt asks for the class of {}, which has none", source_->item(i).id),
             "give pictures in folders by class, or a prompt without {class}");
    }
  }
}

std::vector<ViewRow> ViewsRun::RowsToMake() const {
  const std::string scheduler = config_.scheduler.empty()
                                    ? pipeline_->scheduler_name()
                                    : SchedulerName(ParseSchedulerKind(config_.scheduler, "--scheduler"));
  std::vector<ViewRow> rows = WantedRows(config_, *source_, levels_);
  for (ViewRow& row : rows) {
    row.generator = pipeline_->fingerprint();
    row.scheduler = scheduler;
  }
  return rows;
}

// What a picture depends on and its row does not say. The batch size changes pictures to rounding only, or not at all.
Json ViewsRun::Settings(bool tiles) const {
  Json settings = {{"format", 1},
                   {"size", config_.size},
                   {"prompt", config_.prompt},
                   {"noise", noise_->fingerprint()},
                   {"precision", PrecisionName(compute_)}};
  if (!config_.negative_prompt.empty()) settings["negative_prompt"] = config_.negative_prompt;
  if (config_.format != ViewFormat::kPng) settings["quality"] = config_.quality;
  if (config_.per_shard > 0) settings["per_shard"] = config_.per_shard;
  if (tiles) settings["decode"] = "tiles";
  if (config_.deterministic) settings["deterministic"] = true;
  return settings;
}

// A folder that was begun goes on as it was begun, however much memory is free now.
bool ViewsRun::ChooseTiles() const {
  const Path file = config_.out / "settings.json";
  if (config_.decode == DecodeChoice::kAuto && std::filesystem::exists(file)) {
    const std::string there = ReadFile(file);
    for (const bool tiles : {false, true}) {
      if (there == Settings(tiles).dump(2) + "\n") return tiles;
    }
  }
  return DecodesInTiles(config_.decode, *pipeline_, noise_->latent_shape(), config_.run.batch);
}

constexpr int64_t kNoView = -1;  // fills up a short batch

// All views of every batch that has one to make, in order: a batch is computed whole or not at all. Of several
// processes each takes its turn, or its shards; the tensors of --dump lie in one process.
std::vector<int64_t> ViewsRun::ViewsToCompute() const {
  std::vector<int64_t> views;
  const int64_t batch = config_.run.batch, per_shard = config_.per_shard;
  int64_t batches = 0;
  for (int64_t begin = 0, end = 0; begin < summary_.asked; begin = end) {
    end = std::min(begin + batch, summary_.asked);
    // No batch is in two shards: a process packs those that it takes.
    if (per_shard > 0) end = std::min(end, (begin / per_shard + 1) * per_shard);
    bool missing = false;
    for (int64_t view = begin; view < end; ++view) missing = missing || IsToMake(view);
    if (!missing) continue;
    const int64_t turn = per_shard > 0 ? begin / per_shard : batches++;
    if (group_.rank() != (dump_ ? 0 : turn % group_.size())) continue;
    for (int64_t view = begin; view < begin + batch; ++view) views.push_back(view < end ? view : kNoView);
  }
  return views;
}

// Views that are there, or lost, of pictures that are others now.
std::vector<int64_t> ViewsRun::ViewsOfOtherPictures() const {
  std::vector<int64_t> views;
  OrderedBatches<std::vector<char>> batches(
      {.begin = 0, .end = summary_.asked, .batch = 256, .threads = ResolveThreads(config_.run.threads), .ahead = 2},
      [](int64_t, int64_t count) { return std::vector<char>(static_cast<size_t>(count)); },
      [&](std::vector<char>& others, int64_t slot, int64_t view) {
        others[static_cast<size_t>(slot)] =
            !IsToMake(view) && IsOfAnotherPicture(*source_, ImageOf(view), config_.out, folder_->wanted(view)) ? 1 : 0;
      });
  int64_t view = 0;
  for (std::vector<char> others; batches.Next(others);) {
    progress_.ThrowIfStopped();
    for (const char other : others) {
      if (other != 0) views.push_back(view);
      ++view;
    }
  }
  return views;
}

void ViewsRun::FillSlot(Slot& slot, int64_t view) const {
  slot.view = view;
  if (view == kNoView) return;
  if (folder_->wanted(view).noise_level < 0) {
    slot.fault = Format("not in {}", config_.ratios.string());
    return;
  }
  const Outcome<std::string> bytes = source_->ReadBytes(ImageOf(view));
  const Outcome<Image> image = bytes ? DecodeImage(*bytes) : Outcome<Image>::Failed(bytes.reason());
  if (!image) {
    slot.fault = image.reason();
    return;
  }
  slot.picture = Fingerprint(*bytes);
  slot.pixels = PixelsForEncoder(pipeline_->preprocess(), *image);
}

void ViewsRun::LeaveOut(int64_t view, const std::string& reason) {
  const std::string& id = ItemOf(view).id;
  if (config_.run.strict) {
    throw Error({.what = Format("no view can be made of {}: {}", id, reason),
                 .where = ItemOf(view).path,
                 .next = "remove the picture, or run without --strict"});
  }
  skipped_.Add(id, reason);
}

void ViewsRun::LeaveOutLost(int64_t view) { LeaveOut(view, LostReason(folder_->wanted(view))); }

std::string ViewsRun::LostReason(const ViewRow& row) const {
  return config_.per_image == 1 ? Format("the view is {}, in fp32 too", row.fault)
                                : Format("view {} is {}, in fp32 too", row.index, row.fault);
}

// Process 0 gets what the others have counted, once all rows are on the disk. False in the others.
bool ViewsRun::Gathered() {
  folder_->Close();
  const Json mine = {{"made", summary_.made}, {"retried", summary_.retried}, {"skipped", SkippedToText(skipped_)}};
  const std::vector<std::string> all = group_.Gather(mine.dump());
  if (group_.rank() != 0) return false;
  summary_.made = summary_.retried = 0;
  for (const std::string& text : all) {
    const Json one = ParseJson(text, "counts of a process");
    summary_.made += one.at("made").get<int64_t>();
    summary_.retried += one.at("retried").get<int64_t>();
    AddSkipped(one.at("skipped").get<std::string>(), skipped_);
  }
  return true;
}

Made ViewsRun::Generate(const UnclipPipeline& pipeline, const Batch& batch) const {
  std::vector<Tensor> pixels, latents, noises;
  UnclipRequest request{.embeddings = {},
                        .levels = {},
                        .guidance = {},
                        .embedding_noise = {},
                        .latents = {},
                        .latents_as_given = !config_.noise.empty(),
                        .steps = config_.steps,
                        .scheduler = config_.scheduler,
                        .prompts = {},
                        .negative_prompt = config_.negative_prompt};
  for (const Slot& slot : batch) {
    const ViewRow& row = folder_->wanted(slot.view);
    const ViewNoise noise = noise_->For(slot.view, row.seed);
    pixels.push_back(slot.pixels);
    latents.push_back(noise.latents);
    noises.push_back(noise.embedding);
    request.levels.push_back(row.noise_level);
    request.guidance.push_back(row.guidance);
    request.prompts.push_back(row.prompt);
  }
  request.tiles = tiles_;
  request.one_by_one = config_.deterministic;
  request.embeddings = pipeline.EncodeImages(at::stack(pixels), config_.deterministic);
  request.latents = at::stack(latents);
  request.embedding_noise = at::stack(noises);
  Made made;
  made.embeddings = request.embeddings;
  made.views = pipeline.Generate(request, dump_ ? &made.trace : nullptr);
  made.retried.assign(batch.size(), false);
  return made;
}

void ViewsRun::MakeAgainInFp32(const Batch& batch, Made& made) {
  Batch bad;
  std::vector<int64_t> places;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (made.views.faults[i].empty()) continue;
    bad.push_back(batch[i]);
    places.push_back(static_cast<int64_t>(i));
  }
  if (bad.empty() || compute_ == at::kFloat) return;
  if (exact_ == nullptr) exact_ = UnclipPipeline::Open(config_.generator, device_, at::kFloat, config_.keep);
  const Made again = Generate(*exact_, bad);
  for (size_t i = 0; i < bad.size(); ++i) {
    made.views.faults[static_cast<size_t>(places[i])] = again.views.faults[i];
    made.retried[static_cast<size_t>(places[i])] = true;
  }
  const Tensor rows = at::tensor(places);
  made.views.pictures.index_copy_(0, rows, again.views.pictures);
  if (!dump_) return;
  made.embeddings.index_copy_(0, rows.to(device_), again.embeddings);
  TakeRows(rows, again.trace, made.trace);
}

void ViewsRun::KeepForDump(const Batch& batch, const Made& made) {
  std::vector<Tensor> pixels;
  std::vector<std::string> ids;
  for (const Slot& slot : batch) {
    pixels.push_back(slot.pixels);
    ids.push_back(ItemOf(slot.view).id);
  }
  dump_->Add(ids, at::stack(pixels), made.embeddings, made.trace, made.views.pictures);
}

int64_t ViewsRun::CountToWrite(const Batch& batch, const Made& made) const {
  int64_t count = 0;
  for (size_t i = 0; i < batch.size(); ++i) count += IsToWrite(batch, made, i) ? 1 : 0;
  return count;
}

// In the writer's thread, beside the making of the next batch.
void ViewsRun::WriteBatch(const Batch& batch, const Made& made) {
  const c10::InferenceMode guard;
  const UnclipViews& views = made.views;
  // Pictures on all threads; their rows, which vouch for them, afterwards and in order.
  at::parallel_for(0, static_cast<int64_t>(batch.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<size_t>(i);
      if (!IsToWrite(batch, made, at)) continue;
      const Image image = ViewImage(views.pictures[i], config_.size);
      folder_->WritePicture(batch[at].view, EncodeView(config_, image), image.width, image.height);
    }
  });
  for (size_t i = 0; i < batch.size(); ++i) {
    if (!views.faults[i].empty() && IsToMake(batch[i].view)) {
      folder_->AddLost(batch[i].view, batch[i].picture, views.faults[i]);
      LeaveOutLost(batch[i].view);
    } else if (IsToWrite(batch, made, i)) {
      folder_->AddRow(batch[i].view, batch[i].picture, made.retried[i]);
      ++summary_.made;
      summary_.retried += made.retried[i] ? 1 : 0;
    }
  }
}

// Nothing where memory does not do for so many: then fewer are made at once, from here on.
std::optional<Made> ViewsRun::TryToMake(const Batch& batch) {
  try {
    Made made = Generate(*pipeline_, batch);
    MakeAgainInFp32(batch, made);
    return made;
  } catch (const std::exception& error) {
    if (batch.size() == 1 || !IsOutOfMemory(error)) throw;
  }
  at_once_ = (batch.size() + 1) / 2;
  progress_.Warn(Format("memory does not do for {} views at once; {} from here on", batch.size(), at_once_));
  return std::nullopt;
}

// Hands over to the writer, whole or in parts that memory does for; how many views.
int64_t ViewsRun::MakeBatch(Batch& batch) {
  std::erase_if(batch, [](const Slot& slot) { return slot.view == kNoView; });
  for (const Slot& slot : batch) {
    if (!slot.fault.empty()) LeaveOut(slot.view, slot.fault);
  }
  std::erase_if(batch, [](const Slot& slot) { return !slot.fault.empty(); });
  int64_t count = 0;
  while (!batch.empty()) {
    const auto end = batch.begin() + static_cast<ptrdiff_t>(std::min(batch.size(), at_once_));
    Batch part(batch.begin(), end);
    if (std::any_of(part.begin(), part.end(), [&](const Slot& slot) { return IsToMake(slot.view); })) {
      std::optional<Made> made = TryToMake(part);
      if (!made) continue;
      if (dump_) KeepForDump(part, *made);  // as they are written
      count += CountToWrite(part, *made);
      for (Slot& slot : part) slot.pixels.reset();
      writer_.Do([this, part = std::move(part), made = *std::move(made)] { WriteBatch(part, made); });
    }  // else what is missing cannot be made
    batch.erase(batch.begin(), end);
  }
  return count;
}

ViewsSummary ViewsRun::Run() {
  const c10::InferenceMode guard;
  const std::vector<int64_t> views = ViewsToCompute();
  for (int64_t view = 0; view < summary_.asked; ++view) {
    if (folder_->IsLost(view)) LeaveOutLost(view);
  }
  // With several processes each shows what it makes itself.
  int64_t there = group_.size() > 1 ? 0 : folder_->count();
  progress_.Begin(
      "views", group_.size() > 1 ? std::ssize(views) - std::count(views.begin(), views.end(), kNoView) : summary_.asked,
      "views");
  OrderedBatches<Batch> batches(
      {.begin = 0,
       .end = static_cast<int64_t>(views.size()),
       .batch = config_.run.batch,
       .threads = std::min<int64_t>(ResolveThreads(config_.run.threads), config_.run.batch),
       .ahead = 2},
      [](int64_t, int64_t count) { return Batch(static_cast<size_t>(count)); },
      [&](Batch& batch, int64_t slot, int64_t position) {
        FillSlot(batch[static_cast<size_t>(slot)], views[static_cast<size_t>(position)]);
      });
  int64_t shard = -1;  // that is being filled
  for (Batch batch; batches.Next(batch);) {
    progress_.ThrowIfStopped();
    group_.Check();
    const int64_t next = config_.per_shard > 0 ? batch.front().view / config_.per_shard : -1;
    if (next != shard && shard >= 0) {
      writer_.Finish();
      folder_->PackShard(shard);
    }
    shard = next;
    there += MakeBatch(batch);
    progress_.Update(there, batches.WaitShare());
  }
  writer_.Finish();
  if (shard >= 0) folder_->PackShard(shard);
  if (!Gathered()) return summary_;
  folder_->Finish();
  for (int64_t view = 0; view < summary_.asked; ++view) {
    const ViewRow& row = folder_->wanted(view);
    if (folder_->IsLost(view)) summary_.lost.push_back(Format("{}: {}", row.id, LostReason(row)));
  }
  skipped_.Write(config_.out / "skipped.tsv", /*even_empty=*/true);
  if (dump_) dump_->Write(config_.dump);
  summary_.written = folder_->count();
  summary_.skipped = skipped_.count();
  if (summary_.asked > 0 && summary_.written == 0) {
    throw Error({.what = Format("none of {} views could be made", summary_.asked),
                 .where = (config_.out / "skipped.tsv").string(),
                 .next = "read there why"});
  }
  std::string text = Format("{} asked, {} written", summary_.asked, summary_.written);
  if (summary_.made < summary_.written) text += Format(", {} of them before", summary_.written - summary_.made);
  if (summary_.skipped > 0) text += Format(", {} pictures left out (skipped.tsv)", summary_.skipped);
  if (summary_.retried > 0) text += Format(", {} made again in fp32", summary_.retried);
  if (!summary_.lost.empty()) {
    text += Format("; {} unusable: {}{}", summary_.lost.size(), summary_.lost.front(),
                   summary_.lost.size() > 1 ? ", ..." : "");
  }
  progress_.End(text);
  return summary_;
}

}  // namespace

ViewsSummary GenerateViews(const ViewsConfig& config, Progress& progress, Group& group) {
  CheckRequired(config, {"views", "", nullptr});
  RefuseAmongPictures(config.images, config.out);
  std::optional<FolderLock> lock;
  if (group.rank() == 0) lock.emplace(config.out);  // for the whole group
  return ViewsRun(config, progress, group).Run();
}

}  // namespace genview
