#include "genview/pretrain/pair_weigher.h"

#include <c10/core/InferenceMode.h>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/foreground/pca.h"
#include "genview/foreground/quality.h"
#include "genview/pretrain/token_store.h"

namespace genview {
namespace {

class OnlineWeigher final : public PairWeigher {
 public:
  OnlineWeigher(const PretrainConfig& config, at::Device device, at::ScalarType compute)
      : PairWeigher(config.quality, device, compute) {
    const Preprocess training = PreprocessOf(config);
    const Preprocess& own = encoder_->preprocess();
    const auto per_channel = [&](auto&& value) {
      return at::tensor({value(0), value(1), value(2)}, at::kFloat).view({1, 3, 1, 1}).to(device);
    };
    scale_ = per_channel([&](size_t c) { return training.std[c] / own.std[c]; });
    if (const int64_t size = config.size; size != own.size && encoder_->Takes(size))
      fingerprint_ = Fingerprint(fingerprint_ + " of views as they are");  // earlier versions enlarged them
    shift_ = per_channel([&](size_t c) { return (training.mean[c] - own.mean[c]) / own.std[c]; });
  }

  PairSimilarity Compare(const PairBatch& batch) const override {
    PairSimilarity similarity;
    {
      const c10::InferenceMode guard;
      similarity = ComparePairs(Tokens(batch.view1), Tokens(batch.view2), component_);
    }
    // Made outside: a tensor of inference mode cannot take part in a loss.
    return {.foreground = similarity.foreground.clone(), .background = similarity.background.clone()};
  }

 private:
  Tensor Tokens(const Tensor& view) const {
    Tensor pixels = view.to(encoder_->device()) * scale_ + shift_;
    if (!encoder_->Takes(pixels.size(2))) {
      const int64_t size = encoder_->preprocess().size;
      pixels = at::_upsample_bicubic2d_aa(pixels, at::IntArrayRef{size, size}, /*align_corners=*/false);
    }
    return encoder_->Encode(pixels, /*tokens=*/true).tokens;
  }

  Tensor scale_, shift_;  // [1,3,1,1]: from the training's colours to the encoder's
};

class CachedWeigher final : public PairWeigher {
 public:
  CachedWeigher(const PretrainConfig& config, std::shared_ptr<const ImageSource> source,
                std::shared_ptr<const GeneratedViews> views, at::Device device, at::ScalarType compute)
      : PairWeigher(config.quality, device, compute),
        source_(std::move(source)),
        views_(std::move(views)),
        store_({.images = source_,
                .views = views_,
                .encoder = encoder_,
                .grid = config.quality.grid,
                .file = config.quality.cache.empty() ? Path(config.out) / "quality-tokens.safetensors"
                                                     : Path(config.quality.cache),
                .replace = config.quality.cache.empty() || config.quality.replace_cache,
                .run = config.run}) {}

  void Prepare(Progress& progress) override { store_.Prepare(progress); }

  PairSimilarity Compare(const PairBatch& batch) const override {
    const auto [maps1, cover1] = Crops(batch, batch.crops1);
    const auto [maps2, cover2] = Crops(batch, batch.crops2);
    return CompareCrops(maps1, cover1, maps2, cover2, component_.cpu());
  }

 private:
  // Maps [N,T,C] of the pictures and views that crops were taken of, and what of each they show [N,T].
  std::pair<Tensor, Tensor> Crops(const PairBatch& batch, const std::vector<ViewCrop>& crops) const {
    std::vector<int64_t> rows;
    std::vector<float> boxes;
    for (size_t i = 0; i < crops.size(); ++i) {
      const ViewCrop& crop = crops[i];
      rows.push_back(crop.generated
                         ? store_.RowOfView(views_->RowOf(source_->item(batch.indices[i]).id, batch.generated_view[i]))
                         : batch.indices[i]);
      boxes.insert(boxes.end(), {crop.left, crop.top, crop.right, crop.bottom});
    }
    return {store_.Read(rows), CellCover(at::tensor(boxes).view({-1, 4}), store_.grid())};
  }

  const std::shared_ptr<const ImageSource> source_;
  const std::shared_ptr<const GeneratedViews> views_;
  TokenStore store_;
};

}  // namespace

PairWeigher::PairWeigher(const QualityConfig& config, at::Device device, at::ScalarType compute)
    : encoder_(Encoder::Open(config.encoder, device, compute)),
      gamma_(config.gamma),
      floor_(config.floor),
      among_(config.among) {
  const ForegroundModel model = ReadForegroundModel(config.foreground);
  CheckModelFits(model, config.foreground, encoder_->token_width(), encoder_->fingerprint(), encoder_->name());
  component_ = model.component.to(device);
  fingerprint_ = Fingerprint(encoder_->fingerprint() + FingerprintFile(config.foreground));
}

static Tensor HaveGeneratedView(const PairBatch& batch) {  // [N] bool
  std::vector<int64_t> views = batch.generated_view;
  views.resize(batch.indices.size(), -1);
  return at::tensor(views, at::kLong) >= 0;
}

Tensor PairWeigher::Weigh(const PairBatch& batch) const { return Weigh(Compare(batch), HaveGeneratedView(batch)); }

Tensor PairWeigher::Weigh(const PairSimilarity& similarity, const Tensor& generated) const {
  const Tensor weights =
      among_ == QualityAmong::kBatch
          ? QualityWeights(similarity, gamma_, floor_)
          : QualityWeightsByKind(similarity, generated.to(similarity.foreground.device()), gamma_, floor_);
  return weights.to(encoder_->device());
}

std::vector<Tensor> WeighTogether(const PairWeigher& weigher, const std::vector<PairBatch>& mine, int64_t parts,
                                  TensorGroup& processes) {
  const int64_t size = processes.size(), rounds = (parts + size - 1) / size;
  const auto pairs = static_cast<int64_t>(mine.at(0).indices.size());
  const Tensor own = at::zeros({rounds, 3, pairs}, at::kFloat);  // foreground, background, generated
  for (size_t i = 0; i < mine.size(); ++i) {
    const PairSimilarity similarity = weigher.Compare(mine[i]);
    const Tensor part = own[static_cast<int64_t>(i)];
    part[0].copy_(similarity.foreground);
    part[1].copy_(similarity.background);
    part[2].copy_(HaveGeneratedView(mine[i]));
  }
  // [W,rounds,3,n] -> [P,3,n]: the parts in their order, whoever holds them.
  const Tensor all = processes.Gather(own).transpose(0, 1).reshape({-1, 3, pairs}).narrow(0, 0, parts);
  const Tensor weights =
      weigher
          .Weigh({.foreground = all.select(1, 0).flatten(), .background = all.select(1, 1).flatten()},
                 all.select(1, 2).flatten() > 0)
          .view({parts, pairs});
  std::vector<Tensor> result;
  for (int64_t part = processes.rank(); part < parts; part += size) result.push_back(weights[part]);
  return result;
}

std::unique_ptr<PairWeigher> MakePairWeigher(const PretrainConfig& config, std::shared_ptr<const ImageSource> source,
                                             std::shared_ptr<const GeneratedViews> views, at::Device device,
                                             at::ScalarType compute) {
  if (config.quality.features == QualityFeatures::kOnline)
    return std::make_unique<OnlineWeigher>(config, device, compute);
  return std::make_unique<CachedWeigher>(config, std::move(source), std::move(views), device, compute);
}

}  // namespace genview
