#include "genview/views/likeness.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include <c10/core/InferenceMode.h>

#include "genview/base/text.h"
#include "genview/data/loader.h"
#include "genview/data/source.h"
#include "genview/diffusion/picture_tensors.h"
#include "genview/diffusion/plain_views.h"
#include "genview/records/records.h"
#include "genview/views/noise_levels.h"

namespace genview {
namespace {

constexpr int64_t kClassifierImages = 2000, kViewsAtOnce = 50;
constexpr double kBinWidth = 0.2;

// Every n-th of `all`, `count` of them.
std::vector<int64_t> Evenly(const std::vector<int64_t>& all, int64_t count) {
  std::vector<int64_t> chosen;
  const auto size = static_cast<int64_t>(all.size());
  for (int64_t k = 0; k < std::min(count, size); ++k)
    chosen.push_back(all[static_cast<size_t>(k * size / std::min(count, size))]);
  return chosen;
}

struct Encoded {
  Tensor embeddings;             // [N,D]
  std::vector<int64_t> indices;  // into the source: pictures that could be read
};

Encoded EncodeSome(const std::shared_ptr<const ImageSource>& source, const std::vector<int64_t>& indices,
                   const Encoder& encoder, const RunOptions& run) {
  SkippedLog skipped;
  EncodeLoader loader(source, indices, encoder.preprocess(), EncodeBatchSize(encoder, run.batch), run.threads, skipped,
                      run.strict);
  Encoded result;
  std::vector<Tensor> rows;
  for (EncodeBatch batch; loader.Next(batch);) {
    rows.push_back(encoder.Encode(batch.pixels.to(encoder.device()), /*tokens=*/false).embeddings.to(at::kCPU));
    result.indices.insert(result.indices.end(), batch.indices.begin(), batch.indices.end());
  }
  result.embeddings = rows.empty() ? at::empty({0, encoder.embedding_width()}) : at::cat(rows);
  return result;
}

Tensor Labels(const ImageSource& source, const std::vector<int64_t>& indices) {
  Tensor labels = at::empty({static_cast<int64_t>(indices.size())}, at::kLong);
  for (size_t i = 0; i < indices.size(); ++i) labels.data_ptr<int64_t>()[i] = source.item(indices[i]).label;
  return labels;
}

// An image of the sample with what is known about it.
struct Sampled {
  int64_t index = 0;
  double ratio = 1;
};

std::vector<Sampled> Sample(const LikenessConfig& config, const ImageSource& source) {
  std::map<std::string, double> ratio_of;
  if (!config.ratios.empty()) {
    for (const ForegroundRow& row : ReadForegroundTable(config.ratios)) ratio_of[row.id] = row.ratio;
  }
  std::vector<Sampled> all;
  for (int64_t i = 0; i < source.size(); ++i) {
    const auto known = ratio_of.find(source.item(i).id);
    if (config.ratios.empty() || known != ratio_of.end()) all.push_back({i, config.ratios.empty() ? 1 : known->second});
  }
  std::stable_sort(all.begin(), all.end(), [](const Sampled& a, const Sampled& b) { return a.ratio < b.ratio; });
  std::vector<int64_t> places(all.size());
  std::iota(places.begin(), places.end(), int64_t{0});
  std::vector<Sampled> chosen;
  for (const int64_t place : Evenly(places, config.pictures)) chosen.push_back(all[static_cast<size_t>(place)]);
  return chosen;
}

size_t BinOf(double ratio) {
  // An edge belongs to the lower bin, as with noise levels.
  const double bin = std::ceil(std::clamp(ratio, 0.0, 1.0) / kBinWidth - 1e-9) - 1;
  return static_cast<size_t>(std::max(0.0, bin));
}

// Views of a few images at one level. The noise of an image is the same at all levels, so that along them the level
// alone makes the difference.
struct Made {
  std::vector<size_t> places;  // of the images whose view is good
  std::vector<Image> pictures;
};
Made MakeViews(const UnclipPipeline& pipeline, const LikenessConfig& config, const std::vector<SourceItem>& items,
               const std::vector<std::string>& classes, const Tensor& embeddings, int64_t level) {
  std::vector<Seed> seeds;
  SamplerSettings settings{.steps = config.steps,
                           .guidance = config.guidance,
                           .scheduler = config.scheduler,
                           .prompts = {},
                           .negative_prompt = config.negative_prompt};
  for (const SourceItem& item : items) {
    seeds.push_back(Seed(config.run.seed).With("likeness").With(item.id));
    settings.prompts.push_back(PromptOf(config.prompt, item, classes));
  }
  const UnclipViews views =
      PlainViews(pipeline, embeddings, std::vector<int64_t>(items.size(), level), NoiseOf(pipeline, seeds), settings);
  Made made;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!views.faults[i].empty()) continue;
    made.places.push_back(i);
    made.pictures.push_back(PictureOf(views.pictures[static_cast<int64_t>(i)]));
  }
  return made;
}

// Rows of length 1 with a one behind them. [N,D] -> [N,D+1] fp64
Tensor UnitRowsAndOne(const Tensor& embeddings) {
  const Tensor rows = embeddings.to(at::kDouble);
  const Tensor unit = rows / rows.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
  return at::cat({unit, at::ones({rows.size(0), 1}, unit.options())}, 1);
}

// Adds one view to a row of the table.
void Count(LikenessRow& row, double cosine, bool kept) {
  ++row.views;
  row.cosine += cosine;
  row.kept += kept ? 1 : 0;
}

Json RowToJson(const LikenessRow& row, bool with_classes) {
  Json json = {{"level", row.level}, {"from", row.from}, {"to", row.to}, {"views", row.views}, {"cosine", row.cosine}};
  if (with_classes) {
    const auto [low, high] = WilsonInterval(row.kept, row.views);
    json["kept"] = row.views == 0 ? 0 : 100.0 * static_cast<double>(row.kept) / static_cast<double>(row.views);
    json["low"] = 100 * low;
    json["high"] = 100 * high;
  }
  return json;
}

}  // namespace

Tensor RidgeClassifier::Classes(const Tensor& embeddings) const {
  return UnitRowsAndOne(embeddings).matmul(weights).argmax(1);
}

RidgeClassifier FitRidge(const Tensor& embeddings, const Tensor& labels, int64_t classes) {
  constexpr double kPenalty = 1e-3;  // against embeddings that are wider than the images are many
  const Tensor rows = UnitRowsAndOne(embeddings);
  const Tensor wanted = at::zeros({rows.size(0), classes}, rows.options()).scatter(1, labels.view({-1, 1}), 1.0);
  const Tensor square = rows.t().matmul(rows) + kPenalty * at::eye(rows.size(1), rows.options());
  return {at::linalg_solve(square, rows.t().matmul(wanted))};
}

namespace {

// The images that are measured, those that cannot be read left out; all in the order of the source.
struct Originals {
  std::vector<int64_t> asked;   // into the source
  std::vector<Sampled> sample;  // that could be read
  Tensor embeddings;            // [N,D]
  Tensor labels;                // [N], -1 without
};

Originals ReadOriginals(const LikenessConfig& config, const std::shared_ptr<const ImageSource>& source,
                        std::vector<Sampled> sample, const Encoder& encoder) {
  Originals result;
  for (const Sampled& image : sample) result.asked.push_back(image.index);
  std::sort(result.asked.begin(), result.asked.end());
  const Encoded seen = EncodeSome(source, result.asked, encoder, config.run);
  std::erase_if(sample, [&](const Sampled& image) {
    return !std::binary_search(seen.indices.begin(), seen.indices.end(), image.index);
  });
  std::sort(sample.begin(), sample.end(), [](const Sampled& x, const Sampled& y) { return x.index < y.index; });
  result.sample = std::move(sample);
  result.embeddings = seen.embeddings;
  result.labels = Labels(*source, seen.indices);
  return result;
}

// Learns the classes from images that are not measured; nothing where there are no such images, or no classes.
std::optional<RidgeClassifier> LearnClasses(const LikenessConfig& config,
                                            const std::shared_ptr<const ImageSource>& source,
                                            const Originals& originals, const Encoder& encoder) {
  std::vector<int64_t> others;
  for (int64_t i = 0; i < source->size(); ++i) {
    if (source->item(i).label >= 0 && !std::binary_search(originals.asked.begin(), originals.asked.end(), i))
      others.push_back(i);
  }
  if (source->classes().size() < 2 || others.empty() || originals.sample.empty() ||
      originals.labels.min().item<int64_t>() < 0)
    return std::nullopt;
  const Encoded real = EncodeSome(source, Evenly(others, kClassifierImages), encoder, config.run);
  if (real.indices.empty()) return std::nullopt;
  return FitRidge(real.embeddings, Labels(*source, real.indices), static_cast<int64_t>(source->classes().size()));
}

// The rows of both tables, nothing counted yet; of a single bin there is no table.
Likeness EmptyTables(const LikenessConfig& config, size_t bins) {
  Likeness result;
  for (const int64_t level : config.levels) {
    result.by_level.push_back({.level = level});
    for (size_t bin = 0; bin < bins && bins > 1; ++bin) {
      result.by_bin.push_back({.level = level,
                               .from = kBinWidth * static_cast<double>(bin),
                               .to = kBinWidth * static_cast<double>(bin + 1)});
    }
  }
  return result;
}

// Images first .. first+count-1 of the sample once more.
std::vector<Image> ReadAgain(const ImageSource& source, const std::vector<Sampled>& sample, size_t first,
                             size_t count) {
  std::vector<Image> images;
  for (size_t i = first; i < first + count; ++i) {
    Outcome<Image> image = source.Read(sample[i].index);
    // It was read before: only a source that changes under us.
    images.push_back(image ? std::move(*image) : Image(1, 1));
  }
  return images;
}

}  // namespace

Likeness MeasureLikeness(const LikenessConfig& config, Progress& progress) {
  const c10::InferenceMode guard;
  const at::Device device = ChooseDevice(config.run.device);
  const at::ScalarType compute = ChooseCompute(config.run.precision, device);
  const auto source = OpenSource(config.images);
  const auto encoder = Encoder::Open(config.encoder, device, compute);
  const auto pipeline = UnclipPipeline::Open(config.generator, device, compute);
  std::vector<Sampled> asked = Sample(config, *source);
  progress.Begin("likeness", static_cast<int64_t>(asked.size() * config.levels.size()), "views");
  const Originals originals = ReadOriginals(config, source, std::move(asked), *encoder);
  const std::optional<RidgeClassifier> classifier = LearnClasses(config, source, originals, *encoder);
  const std::vector<Sampled>& sample = originals.sample;

  const auto bins = config.ratios.empty() ? size_t{1} : static_cast<size_t>(std::llround(1 / kBinWidth));
  Likeness result = EmptyTables(config, bins);
  result.pictures = std::ssize(sample);
  if (classifier)
    result.real_kept = classifier->Classes(originals.embeddings).eq(originals.labels).sum().item<int64_t>();
  // Of image `place` of the sample, at level k.
  const auto count_view = [&](size_t place, size_t k, const Tensor& embedding, int64_t view_class) {
    const auto row = static_cast<int64_t>(place);
    const double cosine = at::cosine_similarity(originals.embeddings[row], embedding, 0, 1e-8).item<double>();
    const bool kept = classifier && view_class == originals.labels[row].item<int64_t>();
    Count(result.by_level[k], cosine, kept);
    if (bins > 1) Count(result.by_bin[k * bins + BinOf(sample[place].ratio)], cosine, kept);
  };

  int64_t done = 0;
  for (size_t first = 0; first < sample.size(); first += kViewsAtOnce) {
    const size_t count = std::min<size_t>(kViewsAtOnce, sample.size() - first);
    std::vector<SourceItem> items;
    for (size_t i = first; i < first + count; ++i) items.push_back(source->item(sample[i].index));
    const std::vector<Image> images = ReadAgain(*source, sample, first, count);
    const Tensor conditions = pipeline->EncodeImages(EncoderPixels(pipeline->preprocess(), images).to(device));
    for (size_t k = 0; k < config.levels.size(); ++k) {
      progress.ThrowIfStopped();
      const Made made = MakeViews(*pipeline, config, items, source->classes(), conditions, config.levels[k]);
      if (!made.places.empty()) {
        const Tensor embeddings =
            encoder->Encode(EncoderPixels(encoder->preprocess(), made.pictures).to(device), /*tokens=*/false)
                .embeddings.to(at::kCPU);
        const Tensor classes =
            classifier ? classifier->Classes(embeddings) : at::full({embeddings.size(0)}, -1, at::kLong);
        for (size_t i = 0; i < made.places.size(); ++i) {
          const auto row = static_cast<int64_t>(i);
          count_view(first + made.places[i], k, embeddings[row], classes[row].item<int64_t>());
        }
      }
      progress.Update(done += static_cast<int64_t>(count));
    }
  }
  for (auto* rows : {&result.by_level, &result.by_bin}) {
    for (LikenessRow& row : *rows) row.cosine /= static_cast<double>(std::max<int64_t>(1, row.views));
  }
  progress.End(Format("{} images at {} levels", result.pictures, config.levels.size()));
  return result;
}

Json LikenessToJson(const Likeness& likeness) {
  Json json = {{"format", 1}, {"pictures", likeness.pictures}};
  if (likeness.real_kept)
    json["real_kept"] =
        100.0 * static_cast<double>(*likeness.real_kept) / static_cast<double>(std::max<int64_t>(1, likeness.pictures));
  json["levels"] = Json::array();
  json["bins"] = Json::array();
  for (const LikenessRow& row : likeness.by_level)
    json["levels"].push_back(RowToJson(row, likeness.real_kept.has_value()));
  for (const LikenessRow& row : likeness.by_bin) json["bins"].push_back(RowToJson(row, likeness.real_kept.has_value()));
  return json;
}

}  // namespace genview
