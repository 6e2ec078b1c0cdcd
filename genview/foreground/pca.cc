#include "genview/foreground/pca.h"

#include "genview/base/error.h"
#include "genview/base/json.h"
#include "genview/base/text.h"
#include "genview/tensor/npy.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

constexpr int64_t kFormat = 1;  // that is written, and the newest that is known

void CheckComponent(const Tensor& component, const Path& path) {
  const bool usable = component.dim() == 1 && component.size(0) > 0 && at::isfinite(component).all().item<bool>() &&
                      component.norm().item<double>() > 0;
  if (usable) return;
  throw Error({.what = "the component is not one vector of finite numbers other than 0",
               .where = path.string(),
               .next = "fit the foreground model again"});
}

ForegroundModel FromNpy(const Path& path) {
  Tensor vectors = ReadNpy(path);
  if (!at::isFloatingType(vectors.scalar_type()) || vectors.dim() < 1 || vectors.dim() > 2) {
    throw Error({.what = Format("the array is not a vector but [{}]", fmt::join(vectors.sizes(), ",")),
                 .where = path.string(),
                 .next = "name pca_vectors.npy of the original tools, or a file of `genview foreground fit`"});
  }
  if (vectors.dim() == 2 && vectors.size(1) > 0) vectors = vectors.select(1, 0);  // components are columns
  ForegroundModel model;
  model.component = vectors.to(at::kFloat).contiguous();
  CheckComponent(model.component, path);
  return model;
}

}  // namespace

double ForegroundModel::Threshold(const Path& where) const {
  if (threshold) return *threshold;
  throw Error(
      {.what = "the file has a component but no threshold",
       .where = where.string(),
       .next = Format("give --threshold, or let `genview foreground fit --component {} ...` find one for your images",
                      where.string())});
}

ForegroundModel ReadForegroundModel(const Path& path) {
  if (path.extension() == ".npy") return FromNpy(path);
  const WeightMap file = ReadSafetensors(path);
  const std::string where = path.string(), text = file.Metadata("genview");
  const Json meta = text.empty() ? Json::object() : ParseJson(text, where);
  if (JsonString(meta, "kind", "", where) != "foreground") {
    throw Error({.what = "the file is not a foreground model",
                 .where = where,
                 .next = "name a file of `genview foreground fit`"});
  }
  RefuseNewerFormat(meta, kFormat, where);
  ForegroundModel model;
  model.component = file.At("component").to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  CheckComponent(model.component, path);
  if (file.Has("mean")) model.mean = file.At("mean").to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  if (file.Has("threshold")) {
    const Tensor& threshold = file.At("threshold");
    if (threshold.numel() != 1 || !at::isfinite(threshold).all().item<bool>()) {
      throw Error(
          {.what = "the threshold is not one finite number", .where = where, .next = "fit the foreground model again"});
    }
    model.threshold = threshold.to(at::kDouble).item<double>();
  }
  model.share = JsonDouble(meta, "share", model.share, where);
  model.mode =
      JsonString(meta, "mode", "quantile", where) == "histogram" ? ThresholdMode::kHistogram : ThresholdMode::kQuantile;
  model.margin = JsonDouble(meta, "sign_margin", 0, where);
  model.variance_share = JsonDouble(meta, "variance_share", 0, where);
  model.images = JsonInt(meta, "images", 0, where);
  model.tokens = JsonInt(meta, "tokens", 0, where);
  model.encoder = JsonString(meta, "encoder", "", where);
  model.encoder_name = JsonString(meta, "encoder_name", "", where);
  model.request = JsonString(meta, "request", "", where);
  return model;
}

void WriteForegroundModel(const Path& path, const ForegroundModel& model) {
  const Json meta = {{"format", kFormat},
                     {"kind", "foreground"},
                     {"encoder", model.encoder},
                     {"encoder_name", model.encoder_name},
                     {"share", model.share},
                     {"mode", EnumName(model.mode)},
                     {"sign_rule", "the centre of the pictures scores higher than their border"},
                     {"sign_margin", model.margin},
                     {"variance_share", model.variance_share},
                     {"images", model.images},
                     {"tokens", model.tokens},
                     {"request", model.request}};
  std::vector<std::pair<std::string, Tensor>> tensors = {{"component", model.component}};
  if (model.mean.defined()) tensors.emplace_back("mean", model.mean);
  if (model.threshold) tensors.emplace_back("threshold", at::scalar_tensor(*model.threshold, at::kDouble).reshape({1}));
  WriteSafetensors(path, tensors, {{"genview", meta.dump()}});
}

void CheckModelFits(const ForegroundModel& model, const Path& where, int64_t token_width,
                    const std::string& encoder_fingerprint, const std::string& encoder_name) {
  if (model.width() != token_width) {
    throw Error({.what = Format("the foreground model has {} channels, the encoder ({}) gives {}", model.width(),
                                encoder_name, token_width),
                 .where = where.string(),
                 .next = "use the encoder it was fitted with, or run `genview foreground fit` with this one"});
  }
  if (!model.encoder.empty() && model.encoder != encoder_fingerprint) {
    throw Error({.what = Format("the foreground model was fitted with another encoder ({})",
                                model.encoder_name.empty() ? "unnamed" : model.encoder_name),
                 .where = where.string(),
                 .next = Format("use that encoder, or run `genview foreground fit` with this one ({})", encoder_name)});
  }
}

}  // namespace genview
