#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/source_parts.h"

namespace genview {
namespace {

class ShapesSource : public ImageSource {
 public:
  explicit ShapesSource(const ShapesConfig& config) : config_(config) {
    classes_ = ShapeClasses();
    const std::string name = Format("shapes:count={},size={},seed={}", config.count, config.size, config.seed);
    items_.reserve(static_cast<size_t>(config.count));
    for (int64_t i = 0; i < config.count; ++i) {
      const int64_t label = ShapeLabel(config, i);
      // The same ids as in the folder that `dataset make` writes.
      items_.push_back(
          {Format("{}/{:06}.png", classes_[static_cast<size_t>(label)], i), Format("{}#{}", name, i), label});
    }
  }

  int64_t size() const override { return config_.count; }
  const SourceItem& item(int64_t i) const override { return items_[static_cast<size_t>(i)]; }
  Outcome<Image> Read(int64_t i) const override { return DrawShape(config_, i).image; }
  Outcome<std::string> ReadBytes(int64_t i) const override { return EncodePng(DrawShape(config_, i).image); }
  Outcome<GrayImage> ReadMask(int64_t i) const override { return DrawShape(config_, i).mask; }
  std::string Fingerprint() const override {
    constexpr int kDrawing = 1;  // to be raised when the pictures of a seed change
    return genview::Fingerprint(Format("shapes {} {} {} {}", kDrawing, config_.count, config_.size, config_.seed));
  }

 private:
  ShapesConfig config_;
  std::vector<SourceItem> items_;
};

}  // namespace

Json ParseSourceSettings(const std::string& settings, const std::string& spec, const char* form) {
  Json values = Json::object();
  for (const std::string& part : Split(settings, ',')) {
    if (Trim(part).empty()) continue;
    const size_t equals = part.find('=');
    const std::string key = SafeId(Trim(part.substr(0, equals)));
    if (equals == std::string::npos || key.empty()) {
      throw UsageError({.what = Format("`{}` is not a setting", part), .where = SafeId(spec), .next = form});
    }
    const std::string text(Trim(part.substr(equals + 1)));
    uint64_t number = 0;
    values[key] = ParseUint(text, number) ? Json(number) : Json(SafeId(text));
  }
  return values;
}

ShapesConfig ParseShapesSpec(const std::string& spec) {
  const std::string settings = spec.find(':') == std::string::npos ? "" : spec.substr(spec.find(':') + 1);
  ShapesConfig config;
  ReadFields(config, ParseSourceSettings(settings, spec, "write shapes:count=4096,size=64,seed=0"),
             {.file = SafeId(spec), .prefix = "", .lines = nullptr});
  return config;
}

std::shared_ptr<const ImageSource> OpenShapes(const std::string& spec) {
  return std::make_shared<ShapesSource>(ParseShapesSpec(spec));
}

}  // namespace genview
