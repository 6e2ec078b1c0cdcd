#include "genview/pretrain/weight_agreement.h"

#include <algorithm>

#include "genview/base/text.h"
#include "genview/foreground/score.h"
#include "genview/pretrain/pretrain.h"

namespace genview {
namespace {

constexpr int64_t kPairs = 256, kAtOnce = 64;
constexpr double kHardly = 0.2;  // a rank correlation below it is said aloud

}  // namespace

WeightAgreement MeasureWeightAgreement(const PretrainConfig& config, const PairWeigher& cached,
                                       std::shared_ptr<const ImageSource> source,
                                       std::shared_ptr<const GeneratedViews> views,
                                       std::shared_ptr<const MaskFolder> masks, at::Device device,
                                       at::ScalarType compute, Progress& progress) {
  PretrainConfig direct = config;
  direct.quality.features = QualityFeatures::kOnline;
  const auto online = MakePairWeigher(direct, source, views, device, compute);
  // What a pair is does not depend on the batch, nor on views and crops besides the two.
  PairLoaderConfig loading = LoaderOf(config);
  loading.batch = std::min({kAtOnce, loading.batch, source->size()});
  loading.local_crops = loading.more_views = 0;
  loading.masks = std::move(masks);
  SkippedLog skipped;  // they are written down when the training meets them
  PairLoader loader(source, views, loading, skipped);
  loader.Start(0);

  std::vector<double> of_maps, of_views, generated_maps, generated_views;
  progress.Begin("cached weights beside online ones", kPairs, "pairs");
  for (PairBatch batch; static_cast<int64_t>(of_maps.size()) < kPairs && loader.Next(batch);) {
    progress.ThrowIfStopped();
    const auto quality = [&](const PairWeigher& weigher) {
      const PairSimilarity similarity = weigher.Compare(batch);
      return (similarity.foreground - similarity.background).to(at::kCPU, at::kDouble);
    };
    const Tensor maps = quality(cached), direct_quality = quality(*online);
    for (size_t i = 0; i < batch.indices.size() && static_cast<int64_t>(of_maps.size()) < kPairs; ++i) {
      const auto row = static_cast<int64_t>(i);
      of_maps.push_back(maps[row].item<double>());
      of_views.push_back(direct_quality[row].item<double>());
      if (batch.generated_view[i] < 0) continue;
      generated_maps.push_back(of_maps.back());
      generated_views.push_back(of_views.back());
    }
  }
  const WeightAgreement agreement{static_cast<int64_t>(of_maps.size()), Spearman(of_maps, of_views),
                                  static_cast<int64_t>(generated_maps.size()),
                                  Spearman(generated_maps, generated_views)};
  progress.End(Format("rank correlation {:.3f}", agreement.spearman));
  if (agreement.spearman < kHardly) {
    progress.Warn(
        Format("cached weights hardly rank pairs as online ones would (rank correlation {:.3f}, below {:g}): set "
               "`pretrain.quality.features = \"online\"`, or read docs/pairs.md",
               agreement.spearman, kHardly));
  }
  return agreement;
}

Json WeightAgreementToJson(const WeightAgreement& agreement) {
  Json json = {{"pairs", agreement.pairs}, {"spearman", agreement.spearman}};
  if (agreement.generated > 0) {
    json["generated_pairs"] = agreement.generated;
    json["generated_spearman"] = agreement.generated_spearman;
  }
  return json;
}

WeightAgreement WeightAgreementFromJson(const Json& json, std::string_view where) {
  if (!json.is_object()) return {};
  return {JsonInt(json, "pairs", 0, where), JsonDouble(json, "spearman", 0, where),
          JsonInt(json, "generated_pairs", 0, where), JsonDouble(json, "generated_spearman", 0, where)};
}

}  // namespace genview
