#include "cli/gallery.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include <c10/core/InferenceMode.h>

#include "genview/data/generated_views.h"
#include "genview/data/masks.h"
#include "genview/diffusion/picture_tensors.h"
#include "genview/diffusion/plain_views.h"
#include "genview/foreground/pca.h"
#include "genview/foreground/quality.h"
#include "genview/foreground/score.h"
#include "genview/models/encoder.h"
#include "genview/pretrain/pair_weigher.h"
#include "genview/pretrain/pretrain.h"
#include "genview/records/records.h"
#include "genview/views/likeness.h"
#include "genview/views/noise_levels.h"

namespace genview {
namespace {

constexpr int64_t kSide = 224, kPairsLookedAt = 128, kDraws = 3;

// Returns the file's name for gallery.json.
std::string Save(const Path& folder, const std::string& name, const Image& image) {
  const bool small = std::max(image.width, image.height) <= 64;
  const std::string file = Format("{}.{}", name, small ? "png" : "jpg");
  const Image shown = Shrink(image, kSide);
  WriteFile(folder / file, small ? EncodePng(shown) : EncodeJpeg(shown, 92));
  return file;
}

std::string SaveMask(const Path& folder, const std::string& name, const Path& mask) {
  std::error_code code;
  if (!std::filesystem::is_regular_file(mask, code)) return "";
  const auto image = DecodeImage(MappedFile(mask).text());
  if (!image) return "";
  const std::string file = Format("{}.png", name);
  WriteFile(folder / file, EncodePng(Shrink(*image, kSide)));
  return file;
}

struct Sources {
  std::shared_ptr<const ImageSource> images;
  std::map<std::string, int64_t> by_id;
  std::shared_ptr<const GeneratedViews> views;

  explicit Sources(const GalleryConfig& config) : images(OpenSource(config.images)) {
    for (int64_t i = 0; i < images->size(); ++i) by_id[images->item(i).id] = i;
    if (!config.views.empty()) views = GeneratedViews::Open(config.views);
  }
};

Json PicturesByRatio(const GalleryConfig& config, const Sources& sources) {
  Json rows = Json::array();
  if (config.ratios.empty()) return rows;
  auto table = ReadForegroundTable(config.ratios);
  std::vector<std::string> ids;
  for (const auto& row : table) ids.push_back(row.id);
  const auto masks = MaskNamesIn(config.masks, ids);
  std::vector<size_t> usable;  // of the table: the picture is there, and its view where views are shown
  std::vector<double> ratios;
  for (size_t i = 0; i < table.size(); ++i) {
    if (sources.by_id.count(table[i].id) == 0 || (sources.views && !sources.views->Has(table[i].id))) continue;
    usable.push_back(i);
    ratios.push_back(table[i].ratio);
  }
  for (const size_t chosen : SpreadByRatio(ratios, static_cast<size_t>(config.pictures))) {
    const ForegroundRow& row = table[usable[chosen]];
    const auto image = sources.images->Read(sources.by_id.at(row.id));
    if (!image) continue;
    const std::string name = Format("{:03}", rows.size());
    Json json = {{"id", row.id},
                 {"ratio", row.ratio},
                 {"level", row.noise_level},
                 {"image", Save(config.out, name + "-image", *image)},
                 {"mask", SaveMask(config.out, name + "-mask", config.masks / masks[usable[chosen]])}};
    if (sources.views) {
      const auto& made = sources.views->rows();  // by id, then index
      const auto first = std::lower_bound(made.begin(), made.end(), row.id,
                                          [](const ViewRow& view, const std::string& id) { return view.id < id; });
      json["level"] = first->noise_level;  // which need not be the table's
      const auto view = sources.views->Read(row.id, 0);
      if (view) json["view"] = Save(config.out, name + "-view", *view);
    }
    rows.push_back(std::move(json));
  }
  return rows;
}

// A normalised view as a picture again. [3,S,S] -> RGB.
Image Picture(const Tensor& view, const Preprocess& preprocess) {
  const auto floats = at::TensorOptions(at::kDouble);
  const Tensor mean = at::tensor(at::ArrayRef<double>(preprocess.mean), floats).view({3, 1, 1});
  const Tensor std = at::tensor(at::ArrayRef<double>(preprocess.std), floats).view({3, 1, 1});
  return PictureOf(((view.to(at::kDouble) * std + mean) * 255).round().clamp(0, 255).to(at::kByte).permute({1, 2, 0}));
}

// Soft foreground of pictures as grey pictures of their own size.
std::vector<Image> Maps(const std::vector<Image>& pictures, const QualityConfig& quality, at::Device device,
                        at::ScalarType compute) {
  const auto encoder = Encoder::Open(quality.encoder, device, compute);
  const ForegroundModel model = ReadForegroundModel(quality.foreground);
  const Tensor pixels = EncoderPixels(encoder->preprocess(), pictures).to(device);
  const Tensor tokens = encoder->Encode(pixels, /*tokens=*/true).tokens;  // [N,T,C]
  const int64_t grid = encoder->grid();
  const Tensor features = tokens.transpose(1, 2).reshape({tokens.size(0), tokens.size(2), grid, grid});
  const Tensor maps =
      (ForegroundMap(features, model.component.to(device)) * 255).round().to(at::kByte).to(at::kCPU).contiguous();
  std::vector<Image> result;
  for (size_t k = 0; k < pictures.size(); ++k) {
    Image image(grid, grid);
    for (int64_t i = 0; i < grid * grid; ++i)
      std::fill_n(image.pixels.begin() + 3 * i, 3, maps[static_cast<int64_t>(k)].data_ptr<uint8_t>()[i]);
    result.push_back(Resize(image, pictures[k].width, pictures[k].height, Filter::kBicubic));
  }
  return result;
}

Json PairsByWeight(const GalleryConfig& config, const Sources& sources) {
  Json rows = Json::array();
  if (!config.pairs_of || config.pairs == 0) return rows;
  PretrainConfig pretrain = Resolved(*config.pairs_of);
  // Shown are pictures without extra data, and the tokens on the disk are of all: they stay as they are.
  if (pretrain.pair.source == PairSource::kExtraData) pretrain.quality.features = QualityFeatures::kOnline;
  const Preprocess preprocess = PreprocessOf(pretrain);
  PairLoaderConfig loading = LoaderOf(pretrain);
  loading.batch = std::min(kPairsLookedAt, sources.images->size());
  loading.masks = MasksOf(pretrain, *sources.images);
  loading.more_views = 0;
  SkippedLog skipped;
  const bool generated = pretrain.pair.source == PairSource::kGenerated;
  const auto views = generated ? GeneratedViews::Open(pretrain.pair.views) : nullptr;
  PairLoader loader(sources.images, views, loading, skipped);
  loader.Start(0);
  PairBatch batch;
  if (!loader.Next(batch)) return rows;

  const c10::InferenceMode guard;
  const at::Device device = ChooseDevice(config.run.device);
  const at::ScalarType compute = ChooseCompute(config.run.precision, device);
  const auto weigher = MakePairWeigher(pretrain, sources.images, views, device, compute);
  Progress quiet;
  weigher->Prepare(quiet);
  const Tensor weights = weigher->Weigh(batch).to(at::kCPU);
  const Tensor order = weights.argsort(/*stable=*/true, 0, /*descending=*/true);
  const int64_t total = order.size(0), shown = std::min(config.pairs, total / 2);
  std::vector<int64_t> chosen;
  std::vector<Image> pictures;  // first and second view of each
  for (int64_t k = 0; k < 2 * shown; ++k) {
    chosen.push_back(order[k < shown ? k : total - 2 * shown + k].item<int64_t>());
    pictures.push_back(Picture(batch.view1[chosen.back()], preprocess));
    pictures.push_back(Picture(batch.view2[chosen.back()], preprocess));
  }
  const auto maps = Maps(pictures, pretrain.quality, device, compute);
  for (size_t k = 0; k < chosen.size(); ++k) {
    const auto save = [&](const char* part, const Image& image) {
      return Save(config.out, Format("pair-{:02}-{}", k, part), image);
    };
    rows.push_back({{"id", sources.images->item(batch.indices[static_cast<size_t>(chosen[k])]).id},
                    {"weight", weights[chosen[k]].item<double>()},
                    {"view1", save("view1", pictures[2 * k])},
                    {"map1", save("map1", maps[2 * k])},
                    {"view2", save("view2", pictures[2 * k + 1])},
                    {"map2", save("map2", maps[2 * k + 1])}});
  }
  return rows;
}

// The middle one of the pictures shown, at every level, several times: the draws differ the more, the higher the level.
// A draw has the same noise at all levels, so that along a row the level alone makes the difference.
Json OneAtEveryLevel(const GalleryConfig& config, const Sources& sources, const Json& pictures) {
  if (config.generator.empty() || config.levels.empty() || pictures.empty()) return Json::object();
  const Json& chosen = pictures[pictures.size() / 2];
  const std::string id = chosen["id"].get<std::string>();
  const int64_t place = sources.by_id.at(id);
  const auto image = sources.images->Read(place);
  if (!image) return Json::object();
  const std::string prompt = PromptOf(config.prompt, sources.images->item(place), sources.images->classes());
  const c10::InferenceMode guard;
  const at::Device device = ChooseDevice(config.run.device);
  const auto pipeline = UnclipPipeline::Open(config.generator, device, ChooseCompute(config.run.precision, device));
  std::vector<int64_t> levels;
  std::vector<Seed> seeds;
  for (int64_t draw = 0; draw < kDraws; ++draw) {
    levels.insert(levels.end(), config.levels.begin(), config.levels.end());
    const Seed seed = Seed(config.run.seed).With("gallery").With(id).With(static_cast<uint64_t>(draw));
    seeds.insert(seeds.end(), config.levels.size(), seed);
  }
  const Tensor embeddings =
      pipeline->EncodeImages(EncoderPixels(pipeline->preprocess(), {*image})).repeat({std::ssize(levels), 1});
  const UnclipViews views = PlainViews(*pipeline, embeddings, levels, NoiseOf(*pipeline, seeds),
                                       {.steps = config.steps,
                                        .guidance = config.guidance,
                                        .scheduler = config.scheduler,
                                        .prompts = std::vector<std::string>(levels.size(), prompt),
                                        .negative_prompt = config.negative_prompt});
  Json rows = Json::array();
  for (size_t k = 0; k < levels.size(); ++k) {
    if (!views.faults[k].empty()) continue;
    const Image view = PictureOf(views.pictures[static_cast<int64_t>(k)]);
    rows.push_back({{"level", levels[k]}, {"view", Save(config.out, Format("level-{:02}", k), view)}});
  }
  return {{"id", id}, {"image", chosen["image"]}, {"views", rows}};
}

// At most a twentieth of the images, so that it never takes longer than a fraction of what their views took.
Json HowLike(const GalleryConfig& config, const Sources& sources, Progress& progress) {
  if (config.generator.empty() || config.encoder.empty() || config.levels.empty() || config.likeness == 0)
    return Json::object();
  const int64_t pictures = std::min(config.likeness, std::max<int64_t>(10, sources.images->size() / 20));
  return LikenessToJson(MeasureLikeness({.images = config.images,
                                         .encoder = config.encoder,
                                         .generator = config.generator,
                                         .ratios = config.ratios,
                                         .levels = config.levels,
                                         .pictures = pictures,
                                         .steps = config.steps,
                                         .guidance = config.guidance,
                                         .scheduler = config.scheduler,
                                         .prompt = config.prompt,
                                         .negative_prompt = config.negative_prompt,
                                         .run = config.run},
                                        progress));
}

}  // namespace

std::vector<size_t> SpreadByRatio(const std::vector<double>& ratios, size_t count) {
  std::vector<size_t> order(ratios.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return ratios[a] < ratios[b]; });
  if (order.size() <= count) return order;
  if (count == 1) return {order[order.size() / 2]};
  std::vector<size_t> chosen;
  const double low = ratios[order.front()], high = ratios[order.back()];
  size_t next = 0;  // first of `order` that may be taken: each row once, and rising
  for (size_t k = 0; k < count; ++k) {
    const double wanted = low + (high - low) * static_cast<double>(k) / static_cast<double>(count - 1);
    const size_t last = order.size() - (count - k);  // leaves enough for those to come
    size_t best = next;
    for (size_t i = next; i <= last; ++i) {
      if (std::abs(ratios[order[i]] - wanted) < std::abs(ratios[order[best]] - wanted)) best = i;
    }
    chosen.push_back(order[best]);
    next = best + 1;
  }
  return chosen;
}

GallerySummary MakeGallery(const GalleryConfig& config, Progress& progress) {
  const Sources sources(config);
  SweepPartFiles(config.out);
  WriteJson(config.out / "likeness.json", HowLike(config, sources, progress));
  progress.Begin("gallery", 3, "parts");
  Json gallery = {{"format", 1}, {"images", PicturesByRatio(config, sources)}};
  progress.Update(1);
  gallery["levels"] = OneAtEveryLevel(config, sources, gallery["images"]);
  progress.Update(2);
  gallery["arm"] = config.arm;
  gallery["pairs"] = PairsByWeight(config, sources);
  progress.Update(3);
  WriteJson(config.out / "gallery.json", gallery);  // last: it says that all is there
  GallerySummary summary{static_cast<int64_t>(gallery["images"].size()), static_cast<int64_t>(gallery["pairs"].size())};
  progress.End(Format("{} pictures, {} pairs", summary.pictures, summary.pairs));
  return summary;
}

}  // namespace genview
