#include "genview/models/backbone.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace genview {
namespace {

class ResnetBackbone : public Backbone {
 public:
  ResnetBackbone(const BackboneConfig& c, int64_t depth)
      : Backbone(c),
        net_(MakeResnet({.depth = depth,
                         .width = c.width,
                         .small_stem = c.small_stem,
                         .stem_padding = c.stem_padding,
                         .zero_init_residual = c.zero_init_residual})) {}

  BackboneOutput Forward(const Tensor& pixels, bool training) const override {
    const ResnetOutput out = ForwardResnet(net_, pixels, training);
    return {.pooled = out.pooled, .tokens = out.map.flatten(2).transpose(1, 2)};
  }
  WeightList Weights() override { return ListWeights(net_); }
  void Init(Seed seed) override { InitResnet(net_, seed); }
  int64_t width() const override { return net_.config.output_width(); }
  int64_t grid(int64_t image_size) const override {
    image_size += 2 * (config_.stem_padding - 1);  // of the small stem; the usual one has none to choose
    for (int halvings = config_.small_stem ? 3 : 5; halvings > 0; --halvings) image_size = (image_size + 1) / 2;
    return image_size;
  }

 private:
  Resnet net_;
};

class VitBackbone : public Backbone {
 public:
  VitBackbone(const BackboneConfig& c, const VitType& type) : Backbone(c), vit_(MakeVit(Config(c, type))) {}

  BackboneOutput Forward(const Tensor& pixels, bool training) const override {
    const DropPath drop = training && config_.drop_path > 0 ? DropPath{config_.drop_path, NextPass()} : DropPath{};
    const VitOutput out = ForwardVit(vit_, pixels, drop);
    return {.pooled = out.pooled, .tokens = out.tokens};
  }
  bool UseDropPath(double rate) override {
    config_.drop_path = rate;
    return true;
  }
  WeightList Weights() override { return ListWeights(vit_); }
  void Init(Seed seed) override { InitVit(vit_, seed); }
  int64_t width() const override { return vit_.config.width; }
  int64_t grid(int64_t) const override { return vit_.config.grid(); }

 private:
  static VitConfig Config(const BackboneConfig& c, const VitType& type) {
    VitConfig config{.layers = c.layers == 0 ? type.layers : c.layers,
                     .heads = c.heads == 0 ? type.heads : c.heads,
                     .patch_size = c.patch_size,
                     .image_size = c.image_size,
                     .positions = c.positions,
                     .frozen_patch = c.frozen_patch,
                     .norm_eps = c.norm_eps};
    config.width = std::llround(static_cast<double>(type.width) * c.width);
    config.mlp_width = 4 * config.width;
    return config;
  }
  Vit vit_;
};

const std::map<std::string, int64_t> kResnets = {{"resnet18", 18}, {"resnet34", 34}, {"resnet50", 50}};

}  // namespace

std::vector<std::string> BackboneNames() {
  std::vector<std::string> names;
  for (const auto& [name, depth] : kResnets) names.push_back(name);
  for (const VitType& type : kVitTypes) names.emplace_back(type.name);
  return names;
}

const VitType* FindVitType(const std::string& name) {
  const auto* found =
      std::find_if(std::begin(kVitTypes), std::end(kVitTypes), [&](const VitType& type) { return name == type.name; });
  return found == std::end(kVitTypes) ? nullptr : found;
}

int64_t LayersOf(const BackboneConfig& config) {
  const VitType* type = FindVitType(config.type);
  return type == nullptr || config.layers > 0 ? config.layers : type->layers;
}

int64_t HeadsOf(const BackboneConfig& config) {
  const VitType* type = FindVitType(config.type);
  return type == nullptr || config.heads > 0 ? config.heads : type->heads;
}

void CheckBackboneName(const std::string& name, std::string_view where) {
  const std::vector<std::string> names = BackboneNames();
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  throw UsageError({.what = Format("there is no backbone \"{}\"", name),
                    .where = std::string(where),
                    .next = SuggestName(name, names)});
}

std::unique_ptr<Backbone> MakeBackbone(const BackboneConfig& config) {
  if (const auto found = kResnets.find(config.type); found != kResnets.end()) {
    return std::make_unique<ResnetBackbone>(config, found->second);
  }
  if (const VitType* type = FindVitType(config.type)) return std::make_unique<VitBackbone>(config, *type);
  CheckBackboneName(config.type, "key `type` of the backbone");
  throw std::logic_error("a backbone of BackboneNames is not made");
}

std::unique_ptr<Backbone> MakeBackbone(const Json& config, std::string_view where) {
  BackboneConfig fields;
  ReadFields(fields, config, {std::string(where), "backbone"});
  return MakeBackbone(fields);
}

}  // namespace genview
