// The networks that can be pretrained, by name: what a recipe, a checkpoint and an encoder folder all say.
//
//   auto net = MakeBackbone({{"type", "resnet18"}, {"small_stem", true}});
//   net->Init(Seed(0));
//   Tensor features = net->Forward(pixels, /*training=*/true).pooled;
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "genview/models/resnet.h"
#include "genview/models/vit.h"

namespace genview {

struct BackboneConfig {
  std::string type = "resnet18";  // one of BackboneNames()
  int64_t image_size = 224;       // px, of training; a ViT has a position per patch, a ResNet takes any size
  double width = 1;               // factor on the type's channel counts
  bool small_stem = false;        // ResNet: for pictures of 32 to 96 px
  int64_t stem_padding = 1;       // of the small stem: 1, or 2 as in solo-learn; the weights do not tell it
  bool zero_init_residual = false;
  int64_t patch_size = 16;  // ViT
  int64_t layers = 0;       // ViT; 0: the type's
  int64_t heads = 0;        // ViT; 0: the type's
  VitPositions positions = VitPositions::kLearned;
  bool frozen_patch = false;      // ViT
  double norm_eps = kVitNormEps;  // ViT: what its norms add to the variance
  double drop_path = 0;           // ViT, in training: see DropPath; no part of what a checkpoint says of its encoder
};

template <class Visit>
void VisitFields(BackboneConfig& c, Visit&& visit) {
  visit("type", c.type, Any{}, "resnet18, resnet34, resnet50, vit-tiny, vit-small or vit-base");
  visit("image_size", c.image_size, Range<int64_t>{8, 2048}, "side of the training pictures in pixels");
  visit("width", c.width, Range<double>{1.0 / 64, 8}, "factor on all channel counts");
  visit("small_stem", c.small_stem, Any{}, "ResNet: 3 x 3 stem without max-pool, for pictures of 32 to 96 px");
  visit("stem_padding", c.stem_padding, RareRange<int64_t>{{1, 2}, 1},
        "ResNet: padding of the 3 x 3 stem; 2 = as solo-learn has it");
  visit("zero_init_residual", c.zero_init_residual, Any{}, "ResNet: begin with every residual block as the identity");
  visit("patch_size", c.patch_size, Range<int64_t>{1, 256}, "ViT: side of a patch in pixels");
  visit("layers", c.layers, Range<int64_t>{0, 64}, "ViT: blocks; 0 = the type's");
  visit("heads", c.heads, Range<int64_t>{0, 128}, "ViT: attention heads; 0 = the type's (MoCo v3's vit-small has 12)");
  visit("positions", c.positions, Any{}, "ViT: learned positions, or fixed sines and cosines");
  visit("frozen_patch", c.frozen_patch, Any{}, "ViT: never train the patch projection (MoCo v3)");
  visit("norm_eps", c.norm_eps, RareRange<double>{{0, 1}, kVitNormEps}, "ViT: what its norms add to the variance");
}

struct VitType {
  const char* name;
  int64_t width, layers, heads;
};
inline constexpr VitType kVitTypes[] = {{"vit-tiny", 192, 12, 3}, {"vit-small", 384, 12, 6}, {"vit-base", 768, 12, 12}};
const VitType* FindVitType(const std::string& name);  // null: no ViT

std::vector<std::string> BackboneNames();
int64_t LayersOf(const BackboneConfig& config);  // of a ViT, the type's where the config leaves it open; 0: a ResNet
int64_t HeadsOf(const BackboneConfig& config);   // the same
void CheckBackboneName(const std::string& name, std::string_view where);  // throws UsageError with the nearest one

struct BackboneOutput {
  Tensor pooled;  // [N,D]
  Tensor tokens;  // [N,T,D] row-major grid: the patches of a ViT, the places of a ResNet's last map
};

class Backbone {
 public:
  virtual ~Backbone() = default;
  // pixels [N,3,S,S]. Training: batch norms use the batch and update their running statistics, and drop path is on.
  virtual BackboneOutput Forward(const Tensor& pixels, bool training) const = 0;
  virtual WeightList Weights() = 0;  // torchvision's or timm's names; valid as long as the backbone
  virtual void Init(Seed seed) = 0;
  virtual int64_t width() const = 0;                   // D
  virtual int64_t grid(int64_t image_size) const = 0;  // T = grid * grid
  const BackboneConfig& config() const { return config_; }
  // Sets the rate of drop path; false for a network that has none.
  virtual bool UseDropPath(double /*rate*/) { return false; }
  // What drop path draws in the training passes to come: each of them the next. A trainer calls it with a seed of the
  // step, so that a resumed run draws the same.
  void Reseed(Seed seed) {
    seed_ = seed;
    passes_ = 0;
  }

 protected:
  explicit Backbone(BackboneConfig config) : config_(std::move(config)) {}
  Seed NextPass() const { return seed_.With(passes_++); }
  BackboneConfig config_;

 private:
  Seed seed_{0};
  mutable uint64_t passes_ = 0;
};

std::unique_ptr<Backbone> MakeBackbone(const BackboneConfig& config);  // throws UsageError
// From the JSON of a recipe or checkpoint; `where` names it in the UsageError for an unknown key or type.
std::unique_ptr<Backbone> MakeBackbone(const Json& config, std::string_view where = "backbone");

}  // namespace genview
