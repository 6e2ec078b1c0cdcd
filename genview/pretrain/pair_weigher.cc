#include "genview/pretrain/pair_weigher.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

#include <c10/core/InferenceMode.h>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/foreground/pca.h"
#include "genview/foreground/quality.h"

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
    shift_ = per_channel([&](size_t c) { return (training.mean[c] - own.mean[c]) / own.std[c]; });
  }

  Tensor Weigh(const PairBatch& batch) const override {
    Tensor weights;
    {
      const c10::InferenceMode guard;
      weights = PairQuality(Tokens(batch.view1), Tokens(batch.view2), component_, gamma_);
    }
    return weights.clone();  // made outside: a tensor of inference mode cannot take part in a loss
  }

 private:
  Tensor Tokens(const Tensor& view) const {
    Tensor pixels = view.to(encoder_->device()) * scale_ + shift_;
    const int64_t size = encoder_->preprocess().size;
    if (pixels.size(2) != size || pixels.size(3) != size) {
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
        run_(config.run),
        file_(Path(config.out) / "quality.jsonl") {
    for (size_t row = 0; row < views_->rows().size(); ++row) first_row_.try_emplace(views_->rows()[row].id, static_cast<int64_t>(row));
  }

  void Prepare(Progress& progress) override {
    const auto total = static_cast<int64_t>(views_->rows().size());
    const Json head = {{"format", 1}, {"inputs", Fingerprint(fingerprint_ + source_->Fingerprint() + views_->Fingerprint())}};
    Read(head);
    if (static_cast<int64_t>(foreground_.size()) == total) return;
    if (foreground_.empty()) WriteFile(file_, head.dump() + "\n");
    LineLog lines(file_);
    for (int64_t i = 0; i < source_->size(); ++i) index_.emplace(source_->item(i).id, i);
    progress.Begin("quality of the generated views", total, "views");
    // Blocks begin at multiples of their size, also after a kill: the same batches give the same rounding.
    for (int64_t begin = static_cast<int64_t>(foreground_.size()) / kBlock * kBlock; begin < total; begin += kBlock) {
      progress.ThrowIfStopped();
      Judge(begin, std::min(total, begin + kBlock), lines);
      progress.Update(std::min(total, begin + kBlock));
    }
    lines.Sync();
    progress.End();
  }

  Tensor Weigh(const PairBatch& batch) const override {
    std::vector<float> foreground, background;
    for (size_t i = 0; i < batch.indices.size(); ++i) {
      const int64_t k = batch.generated_view[i];
      const auto row = k < 0 ? size_t{0} : static_cast<size_t>(first_row_.at(source_->item(batch.indices[i]).id) + k);
      foreground.push_back(k < 0 ? 0 : foreground_[row]);
      background.push_back(k < 0 ? 0 : background_[row]);
    }
    return QualityWeights({.foreground = at::tensor(foreground), .background = at::tensor(background)}, gamma_).to(encoder_->device());
  }

 private:
  static constexpr int64_t kBlock = 64;

  // What an earlier call found out; nothing if it was about other inputs.
  void Read(const Json& head) {
    if (!std::filesystem::exists(file_)) return;
    const auto lines = ReadLines(file_, /*keep_torn=*/false);
    if (lines.empty() || Json::parse(lines[0], nullptr, false) != head) return;
    for (size_t i = 1; i < lines.size() && i <= views_->rows().size(); ++i) {
      const Json row = ParseJson(lines[i], file_.string());
      const std::string where = Format("{}, line {}", file_.string(), i + 1);
      foreground_.push_back(static_cast<float>(JsonDouble(row, "foreground", 0, where)));
      background_.push_back(static_cast<float>(JsonDouble(row, "background", 0, where)));
    }
  }

  // Rows begin to end - 1 of the views. A view or picture that cannot be read counts as equally alike in both.
  void Judge(int64_t begin, int64_t end, LineLog& lines) {
    const c10::InferenceMode guard;
    std::vector<int64_t> rows, pictures;  // pictures: of each row, as indices into the source
    for (int64_t row = begin; row < end; ++row) {
      const auto picture = index_.find(Row(row).id);
      if (picture == index_.end()) continue;  // a view of a picture that is not trained on
      rows.push_back(row);
      pictures.push_back(picture->second);
    }
    std::unordered_map<int64_t, int64_t> of_view, of_picture;  // place of each in its tensor
    const Tensor view_tokens = Tokens(all_views_, rows, of_view), picture_tokens = Tokens(source_, pictures, of_picture);
    std::vector<int64_t> judged, left, right;
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto view = of_view.find(rows[i]), picture = of_picture.find(pictures[i]);
      if (view == of_view.end() || picture == of_picture.end()) continue;
      judged.push_back(rows[i]);
      left.push_back(picture->second);
      right.push_back(view->second);
    }
    std::vector<double> foreground(static_cast<size_t>(end - begin)), background(foreground.size());
    if (!judged.empty()) {
      const auto pick = [](const Tensor& tokens, const std::vector<int64_t>& places) {
        return tokens.index_select(0, at::tensor(places, at::kLong).to(tokens.device()));
      };
      const PairSimilarity found = ComparePairs(pick(picture_tokens, left), pick(view_tokens, right), component_);
      const Tensor fg = found.foreground.cpu(), bg = found.background.cpu();
      for (size_t i = 0; i < judged.size(); ++i) {
        foreground[static_cast<size_t>(judged[i] - begin)] = fg[static_cast<int64_t>(i)].item<float>();
        background[static_cast<size_t>(judged[i] - begin)] = bg[static_cast<int64_t>(i)].item<float>();
      }
    }
    for (auto row = static_cast<int64_t>(foreground_.size()); row < end; ++row) {  // the first ones may be known
      const double fg = foreground[static_cast<size_t>(row - begin)], bg = background[static_cast<size_t>(row - begin)];
      lines.Append(Json({{"id", Row(row).id}, {"index", Row(row).index}, {"foreground", fg}, {"background", bg}})
                       .dump(-1, ' ', false, Json::error_handler_t::replace));
      foreground_.push_back(static_cast<float>(fg));
      background_.push_back(static_cast<float>(bg));
    }
  }

  Tensor Tokens(const std::shared_ptr<const ImageSource>& source, std::vector<int64_t> indices,
                std::unordered_map<int64_t, int64_t>& places) const {
    std::sort(indices.begin(), indices.end());
    indices.erase(std::unique(indices.begin(), indices.end()), indices.end());
    if (indices.empty()) return {};
    SkippedLog skipped;  // they are written down when the training meets them
    EncodeLoader loader(source, indices, encoder_->preprocess(), kBlock, run_.threads, skipped, run_.strict);
    std::vector<Tensor> parts;
    for (EncodeBatch batch; loader.Next(batch);) {
      for (const int64_t index : batch.indices) places.emplace(index, static_cast<int64_t>(places.size()));
      parts.push_back(encoder_->Encode(batch.pixels.to(encoder_->device()), /*tokens=*/true).tokens);
    }
    return parts.empty() ? Tensor() : at::cat(parts);
  }

  const ViewRow& Row(int64_t row) const { return views_->rows()[static_cast<size_t>(row)]; }

  const std::shared_ptr<const ImageSource> source_;
  const std::shared_ptr<const GeneratedViews> views_;
  const std::shared_ptr<const ImageSource> all_views_ = ViewsAsSource(views_);  // in the order of rows()
  const RunOptions run_;
  const Path file_;
  std::unordered_map<std::string, int64_t> first_row_, index_;  // by the picture's id
  std::vector<float> foreground_, background_;                   // of each row
};

}  // namespace

PairWeigher::PairWeigher(const QualityConfig& config, at::Device device, at::ScalarType compute)
    : encoder_(Encoder::Open(config.encoder, device, compute)), gamma_(config.gamma) {
  const ForegroundModel model = ReadForegroundModel(config.foreground);
  CheckModelFits(model, config.foreground, encoder_->token_width(), encoder_->fingerprint(), encoder_->name());
  component_ = model.component.to(device);
  fingerprint_ = Fingerprint(encoder_->fingerprint() + FingerprintFile(config.foreground));
}

std::unique_ptr<PairWeigher> MakePairWeigher(const PretrainConfig& config, std::shared_ptr<const ImageSource> source,
                                             std::shared_ptr<const GeneratedViews> views, at::Device device,
                                             at::ScalarType compute) {
  if (config.quality.features == QualityFeatures::kOnline) return std::make_unique<OnlineWeigher>(config, device, compute);
  return std::make_unique<CachedWeigher>(config, std::move(source), std::move(views), device, compute);
}

}  // namespace genview
