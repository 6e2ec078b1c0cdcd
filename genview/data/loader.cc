#include "genview/data/loader.h"

#include <algorithm>
#include <span>
#include <unordered_map>

#include "genview/base/random.h"
#include "genview/base/text.h"
#include "genview/data/ordered_batches.h"

namespace genview {
namespace {

// Batches begun before they are asked for: one being filled, one waiting, one of slack; fewer where they are large.
int64_t AheadFor(int64_t bytes_per_batch) { return std::clamp<int64_t>((int64_t{1} << 30) / bytes_per_batch, 1, 3); }

int64_t BytesOf(int64_t batch, int64_t size) { return batch * size * size * 3 * int64_t{sizeof(float)}; }

// Small pictures take microseconds: then threads take several at a time.
int64_t GrainFor(int64_t size) { return size <= 64 ? 8 : 1; }

// [N,3,S,S] fp32, channels last, not yet filled.
Tensor EmptyPixels(int64_t n, int64_t size) {
  return at::empty({n, 3, size, size}, at::TensorOptions().dtype(at::kFloat), at::MemoryFormat::ChannelsLast);
}

std::span<float> PixelsOf(const Tensor& pixels, int64_t slot) {
  const int64_t each = pixels.stride(0);
  return {pixels.data_ptr<float>() + slot * each, static_cast<size_t>(each)};
}

// A picture that cannot be read, or its mask or a generated view of it.
struct Skip {
  std::string id, reason;
  std::string what{};  // "mask", "view 2"; empty: the picture
};

// Skipped pictures are written down when their batch is taken: what a thread has seen ahead of time does not count.
void Record(const std::vector<Skip>& skips, SkippedLog& skipped) {
  for (const Skip& skip : skips)
    skipped.Add(skip.id, skip.what.empty() ? skip.reason : Format("{}: {}", skip.what, skip.reason));
}

[[noreturn]] void ThrowUnreadable(const std::string& where, const std::string& reason) {
  throw Error({.what = Format("a picture cannot be read: {}", reason),
               .where = where,
               .next = "mend or remove it; without --strict it is skipped"});
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

struct EncodeLoader::Work {
  struct Slots {
    EncodeBatch batch;
    std::vector<std::string> bad;  // reason per slot; empty: it is good
  };

  Work(std::shared_ptr<const ImageSource> source_in, std::vector<int64_t> indices_in, const Preprocess& preprocess_in,
       int64_t batch, int64_t threads, SkippedLog& skipped_in, bool strict_in)
      : source(std::move(source_in)),
        indices(std::move(indices_in)),
        preprocess(preprocess_in),
        skipped(skipped_in),
        strict(strict_in),
        batches(
            {.end = static_cast<int64_t>(indices.size()),
             .batch = batch,
             .threads = ResolveThreads(threads),
             .ahead = AheadFor(BytesOf(batch, preprocess_in.size)),
             .grain = GrainFor(preprocess_in.size)},
            [this, batch](int64_t number, int64_t count) { return Make(number * batch, count); },
            [this](Slots& slots, int64_t slot, int64_t position) {
              Fill(slots, static_cast<size_t>(slot), position);
            }) {}

  Slots Make(int64_t first, int64_t count) const {
    Slots slots;
    const auto begin = indices.begin() + first;
    slots.batch.indices.assign(begin, begin + count);
    slots.batch.widths.resize(static_cast<size_t>(count));
    slots.batch.heights.resize(static_cast<size_t>(count));
    slots.batch.pixels = EmptyPixels(count, preprocess.size);
    slots.bad.resize(static_cast<size_t>(count));
    return slots;
  }

  void Fill(Slots& slots, size_t slot, int64_t position) const {
    const int64_t index = indices[static_cast<size_t>(position)];
    const Outcome<Image> image = source->Read(index);
    if (!image) {
      if (strict) ThrowUnreadable(source->item(index).path, image.reason());
      slots.bad[slot] = image.reason().empty() ? "unreadable" : image.reason();
      return;
    }
    slots.batch.widths[slot] = image->width;
    slots.batch.heights[slot] = image->height;
    NormaliseChannelsLast(ApplyGeometry(preprocess, *image), preprocess.mean, preprocess.std,
                          PixelsOf(slots.batch.pixels, static_cast<int64_t>(slot)));
  }

  // Closes the gaps that bad pictures left.
  void Compact(Slots& slots) const {
    EncodeBatch& batch = slots.batch;
    size_t good = 0;
    for (size_t slot = 0; slot < slots.bad.size(); ++slot) {
      if (!slots.bad[slot].empty()) {
        skipped.Add(source->item(batch.indices[slot]).id, slots.bad[slot]);
        continue;
      }
      if (good != slot) {
        const auto from = PixelsOf(batch.pixels, static_cast<int64_t>(slot));
        std::copy(from.begin(), from.end(), PixelsOf(batch.pixels, static_cast<int64_t>(good)).begin());
        batch.indices[good] = batch.indices[slot];
        batch.widths[good] = batch.widths[slot];
        batch.heights[good] = batch.heights[slot];
      }
      ++good;
    }
    for (auto* list : {&batch.indices, &batch.widths, &batch.heights}) list->resize(good);
    batch.pixels = batch.pixels.narrow(0, 0, static_cast<int64_t>(good));
  }

  const std::shared_ptr<const ImageSource> source;
  const std::vector<int64_t> indices;
  const Preprocess preprocess;
  SkippedLog& skipped;
  const bool strict;
  OrderedBatches<Slots> batches;  // last: its threads use the others
};

EncodeLoader::EncodeLoader(std::shared_ptr<const ImageSource> source, std::vector<int64_t> indices,
                           const Preprocess& preprocess, int64_t batch, int64_t threads, SkippedLog& skipped,
                           bool strict)
    : work_(std::make_unique<Work>(std::move(source), std::move(indices), preprocess, std::max<int64_t>(batch, 1),
                                   threads, skipped, strict)) {}

EncodeLoader::~EncodeLoader() = default;

bool EncodeLoader::Next(EncodeBatch& batch) {
  Work::Slots slots;
  while (work_->batches.Next(slots)) {
    work_->Compact(slots);
    if (slots.batch.indices.empty()) continue;
    batch = std::move(slots.batch);
    return true;
  }
  return false;
}

double EncodeLoader::WaitShare() const { return work_->batches.WaitShare(); }

// ---------------------------------------------------------------------------------------------------------------------

namespace {

// The smallest box around both; one without width is none.
Box AroundBoth(const Box& a, const Box& b) {
  if (a.width == 0) return b;
  const int64_t left = std::min(a.x, b.x), top = std::min(a.y, b.y);
  return {left, top, std::max(a.x + a.width, b.x + b.width) - left, std::max(a.y + a.height, b.y + b.height) - top};
}

// What a crop shows of a picture of width x height.
ViewCrop ShownBy(const Box& crop, int64_t width, int64_t height, bool generated) {
  const auto share = [](int64_t pixels, int64_t all) { return static_cast<float>(pixels) / static_cast<float>(all); };
  return {share(crop.x, width), share(crop.y, height), share(crop.x + crop.width, width),
          share(crop.y + crop.height, height), generated};
}

const PairLoaderConfig& Checked(const PairLoaderConfig& config) {
  const BatchShare& share = config.share;
  GENVIEW_CHECK(config.batch > 0, "a batch holds something");
  GENVIEW_CHECK(share.first >= 0 && share.first < share.of && share.every > 0, "a share holds something");
  GENVIEW_CHECK(config.least_rest == 0 || share.of == 1, "a smaller batch is not shared");
  return config;
}

}  // namespace

struct PairLoader::Work {
  struct Slots {
    PairBatch batch;
    int64_t epoch = 0;
    std::vector<int64_t> wanted;           // indices before any stands in for another
    std::vector<std::vector<Skip>> skips;  // per slot
  };

  Work(std::shared_ptr<const ImageSource> source_in, std::shared_ptr<const GeneratedViews> views_in,
       const PairLoaderConfig& config_in, SkippedLog& skipped_in)
      : source(std::move(source_in)),
        views(std::move(views_in)),
        config(config_in),
        skipped(skipped_in),
        per_epoch(source->size() / config.batch +
                  (config.least_rest > 0 && source->size() % config.batch >= config.least_rest ? 1 : 0)),
        turns_per_group((config.share.of - config.share.first + config.share.every - 1) / config.share.every),
        turns_per_epoch(per_epoch / config.share.of * turns_per_group) {}

  // Turns are the batches of this loader's share, numbered through all epochs.
  Slots Make(int64_t turn, int64_t count) {
    Slots slots;
    slots.epoch = turn / turns_per_epoch;
    const int64_t in_epoch = turn % turns_per_epoch;
    const int64_t batch = in_epoch / turns_per_group * config.share.of + config.share.first +
                          in_epoch % turns_per_group * config.share.every;
    count = std::min(count, source->size() - batch * config.batch);  // fewer where what is left over is asked for
    const auto begin = Order(slots.epoch).begin() + batch * config.batch;
    slots.wanted.assign(begin, begin + count);
    slots.batch.indices = slots.wanted;
    slots.batch.view1 = EmptyPixels(count, config.view1.size);
    if (!config.one_view) slots.batch.view2 = EmptyPixels(count, config.view2.size);
    for (int64_t k = 0; k < config.local_crops; ++k) slots.batch.more.push_back(EmptyPixels(count, config.local.size));
    for (int64_t k = 0; k < config.more_views; ++k) slots.batch.more.push_back(EmptyPixels(count, ViewLike(k).size));
    slots.batch.generated_view.assign(static_cast<size_t>(count), -1);
    slots.batch.crops1.resize(static_cast<size_t>(count));
    slots.batch.crops2.resize(static_cast<size_t>(count));
    slots.skips.resize(static_cast<size_t>(count));
    return slots;
  }

  const std::vector<int64_t>& Order(int64_t epoch) {
    if (order_epoch != epoch) {
      order = Permutation(Seed(config.seed).With("order").With(static_cast<uint64_t>(epoch)), source->size());
      order_epoch = epoch;
    }
    return order;
  }

  // Of the picture at `index`, or of the next good one, whose index it becomes, what is wanted. `wanted` may be asked
  // about a picture that then turns out bad.
  ImagePart ReadGood(int64_t& index, std::vector<Skip>& skips, const WantedBox& wanted) const {
    for (int64_t tried = 0; tried < source->size(); ++tried) {
      Outcome<ImagePart> picture = source->ReadPart(index, wanted);
      if (picture) return std::move(*picture);
      if (config.strict) ThrowUnreadable(source->item(index).path, picture.reason());
      skips.push_back({source->item(index).id, picture.reason()});
      index = (index + 1) % source->size();
    }
    throw Error({.what = "none of the pictures can be read",
                 .where = source->item(0).path,
                 .next = Format("the first reason: {}", skips.empty() ? "unknown" : skips[0].reason)});
  }

  const AugmentConfig& ViewLike(int64_t k) const { return k % 2 == 0 ? config.view1 : config.view2; }

  int64_t ViewsOf(const std::string& id) const {
    const int64_t all = views ? views->Count(id) : 0;
    return config.views_used > 0 ? std::min(all, config.views_used) : all;
  }

  std::optional<Image> ReadGenerated(const std::string& id, int64_t which, std::vector<Skip>& skips) const {
    Outcome<Image> image = views->Read(id, which);
    if (image) return std::move(*image);
    skips.push_back({id, image.reason(), Format("view {}", which)});
    return std::nullopt;
  }

  // The generated view that takes the place of one of the two.
  struct Replacement {
    int view = 0;                // 0 or 1
    int64_t drawn = 0;           // which of the picture's it is
    int64_t taken = 0;           // 1: it is used, if it can be read
    std::optional<Image> image;  // none: the two show the picture
  };
  Replacement DrawReplacement(Seed seed, const std::string& id, int64_t count, std::vector<Skip>& skips) const {
    Replacement result;
    if (count == 0) return result;
    Random random(seed.With("generated"));
    result.view = static_cast<int>(random.Below(2));
    const bool wanted = random.Chance(config.generated_probability);
    result.drawn = random.Below(count);
    result.taken = wanted ? 1 : 0;
    if (wanted) result.image = ReadGenerated(id, result.drawn, skips);
    return result;
  }

  // Where the foreground of a picture is, if crops are to keep to it and it is known.
  std::optional<ForegroundArea> ReadArea(int64_t index, std::vector<Skip>& skips) const {
    if (config.crop.draw == CropDraw::kAnywhere || !config.masks || !config.masks->Has(index)) return std::nullopt;
    const Outcome<GrayImage> mask = config.masks->Read(index);
    if (mask) return ForegroundArea(*mask);
    skips.push_back({source->item(index).id, mask.reason(), "mask"});
    return std::nullopt;
  }

  // One view, drawn but not made yet.
  struct View {
    const AugmentConfig* augment = nullptr;
    AugmentParams params;
    ViewCrop crop;
    std::optional<Image> generated;  // what it is made of; none: of the picture
  };
  // All that is made of one picture. No more of it than its size is needed to draw this, and then only what the crops
  // show is decoded.
  struct Drawn {
    std::vector<View> views;      // the pair, or the one, then the further ones
    int64_t generated_view = -1;  // of the pair
    std::vector<Skip> skips;

    Box ShownOfPicture() const {
      Box box;
      for (const View& view : views) {
        if (!view.generated) box = AroundBoth(box, view.params.crop);
      }
      return box.width > 0 ? box : Box{0, 0, 1, 1};  // one pixel of a picture that is not seen itself
    }
  };

  Drawn Draw(Seed seed, int64_t index, int64_t width, int64_t height) const {
    Drawn drawn;
    const std::optional<ForegroundArea> area = ReadArea(index, drawn.skips);
    const auto add = [&](const AugmentConfig& augment, int64_t v, std::optional<Image> generated,
                         const ForegroundArea* keep_to) {
      const Seed own = seed.With(static_cast<uint64_t>(v));
      const int64_t w = generated ? generated->width : width, h = generated ? generated->height : height;
      const AugmentParams params = !generated && keep_to ? SampleAugment(augment, own, w, h, config.crop, *keep_to)
                                                         : SampleAugment(augment, own, w, h);
      const ViewCrop crop = ShownBy(params.crop, w, h, generated.has_value());
      drawn.views.push_back({&augment, params, crop, std::move(generated)});
    };

    const std::string& id = source->item(index).id;
    const int64_t count = ViewsOf(id);
    Replacement replacement = DrawReplacement(seed, id, count, drawn.skips);
    if (replacement.image) drawn.generated_view = replacement.drawn;
    const ForegroundArea* of_picture = area ? &*area : nullptr;
    const auto of_pair = [&](const AugmentConfig& augment, int v) {
      std::optional<Image> generated;
      if (replacement.view == v) generated = std::move(replacement.image);
      add(augment, v, std::move(generated), of_picture);
    };
    of_pair(config.view1, 0);
    if (!config.one_view) of_pair(config.view2, 1);

    int64_t v = 2, taken = replacement.taken;
    // Small crops are to show parts: they go anywhere.
    for (int64_t k = 0; k < config.local_crops; ++k) add(config.local, v++, std::nullopt, nullptr);
    for (int64_t k = 0; k < config.more_views; ++k, ++v) {
      std::optional<Image> other;
      const bool wanted =
          count > 0 &&
          Random(seed.With("generated").With(static_cast<uint64_t>(v))).Chance(config.generated_probability);
      if (wanted) other = ReadGenerated(id, (replacement.drawn + taken++) % count, drawn.skips);
      add(ViewLike(k), v, std::move(other), of_picture);
    }
    return drawn;
  }

  void Fill(Slots& slots, int64_t slot) const {
    const auto at = static_cast<size_t>(slot);
    const Seed seed = Seed(config.seed)
                          .With("augment")
                          .With(static_cast<uint64_t>(slots.epoch))
                          .With(source->item(slots.wanted[at]).id);
    int64_t& index = slots.batch.indices[at];
    std::vector<Skip>& skips = slots.skips[at];
    Drawn drawn;
    const ImagePart picture = ReadGood(index, skips, [&](int64_t width, int64_t height) {
      drawn = Draw(seed, index, width, height);
      return drawn.ShownOfPicture();
    });
    for (Skip& skip : drawn.skips) {
      if (config.strict) ThrowUnreadable(Format("{} of {}", skip.what, skip.id), skip.reason);
      skips.push_back(std::move(skip));
    }

    const auto make = [&](const View& view, const Tensor& out) {
      AugmentParams params = view.params;
      if (!view.generated) {
        params.crop.x -= picture.box.x;
        params.crop.y -= picture.box.y;
      }
      const Image& from = view.generated ? *view.generated : picture.image;
      NormaliseChannelsLast(ApplyAugment(*view.augment, params, from), config.mean, config.std, PixelsOf(out, slot));
    };
    slots.batch.generated_view[at] = drawn.generated_view;
    size_t made = 0;
    slots.batch.crops1[at] = drawn.views[made].crop;
    make(drawn.views[made++], slots.batch.view1);
    if (!config.one_view) {
      slots.batch.crops2[at] = drawn.views[made].crop;
      make(drawn.views[made++], slots.batch.view2);
    }
    for (const Tensor& out : slots.batch.more) make(drawn.views[made++], out);
  }

  void Start(int64_t turn) {
    if (batches && turn == next) return;
    batches.reset();
    next = turn;
    constexpr int64_t kEndless = int64_t{1} << 62;
    const int64_t second = config.one_view ? 0 : config.view2.size;
    batches = std::make_unique<OrderedBatches<Slots>>(
        OrderedPlan{.begin = turn * config.batch,
                    .end = kEndless / config.batch * config.batch,
                    .batch = config.batch,
                    .threads = ResolveThreads(config.threads),
                    .ahead = AheadFor(BytesOf(config.batch, config.view1.size) + BytesOf(config.batch, second) +
                                      config.local_crops * BytesOf(config.batch, config.local.size) +
                                      config.more_views * BytesOf(config.batch, config.view1.size)),
                    .grain = GrainFor(std::max(config.view1.size, second))},
        [this](int64_t n, int64_t count) { return Make(n, count); },
        [this](Slots& slots, int64_t slot, int64_t) {
          if (slot < std::ssize(slots.wanted)) Fill(slots, slot);
        });
  }

  const std::shared_ptr<const ImageSource> source;
  const std::shared_ptr<const GeneratedViews> views;
  const PairLoaderConfig config;
  SkippedLog& skipped;
  const int64_t per_epoch;                         // batches
  const int64_t turns_per_group, turns_per_epoch;  // turns in each `of` batches, and in an epoch

  std::vector<int64_t> order;  // of order_epoch; touched by Make alone
  int64_t order_epoch = -1;
  int64_t next = 0, end = 0;                       // the turn that Next gives, and the first after this epoch
  std::unique_ptr<OrderedBatches<Slots>> batches;  // last: its threads use the others
};

PairLoader::PairLoader(std::shared_ptr<const ImageSource> source, std::shared_ptr<const GeneratedViews> views,
                       const PairLoaderConfig& config, SkippedLog& skipped)
    : work_(std::make_unique<Work>(std::move(source), std::move(views), Checked(config), skipped)) {
  if (work_->turns_per_epoch > 0) return;
  throw Error({.what = Format("a batch of {} needs more pictures than the {} there are", config.batch * config.share.of,
                              work_->source->size()),
               .where = "pretraining images",
               .next = "take a smaller batch or more images"});
}

PairLoader::~PairLoader() = default;

int64_t PairLoader::batches_per_epoch() const { return work_->per_epoch; }

void PairLoader::Start(int64_t epoch, int64_t first_batch) {
  const int64_t of = work_->config.share.of;
  GENVIEW_CHECK(epoch >= 0 && first_batch >= 0 && first_batch <= work_->per_epoch && first_batch % of == 0,
                "no such batch");
  work_->Start(epoch * work_->turns_per_epoch + first_batch / of * work_->turns_per_group);
  work_->end = (epoch + 1) * work_->turns_per_epoch;
}

bool PairLoader::Next(PairBatch& batch) {
  GENVIEW_CHECK(work_->batches != nullptr, "Next before Start");
  if (work_->next >= work_->end) return false;
  ++work_->next;
  Work::Slots slots;
  work_->batches->Next(slots);
  for (const auto& skips : slots.skips) Record(skips, work_->skipped);
  batch = std::move(slots.batch);
  batch.generated =
      std::count_if(batch.generated_view.begin(), batch.generated_view.end(), [](int64_t k) { return k >= 0; });
  return true;
}

double PairLoader::WaitShare() const { return work_->batches ? work_->batches->WaitShare() : 0; }

}  // namespace genview
