// ResNet-18, 34 and 50 under torchvision's names, without the classifier.
//
//   Resnet net = MakeResnet({.depth = 18, .small_stem = true});
//   InitResnet(net, Seed(0));
//   ResnetOutput out = ForwardResnet(net, pixels, /*training=*/true);   // updates the running statistics
#pragma once

#include <array>
#include <vector>

#include "genview/base/fields.h"
#include "genview/models/blocks.h"

namespace genview {

struct ResnetConfig {
  int64_t depth = 18;               // 18, 34, 50
  double width = 1;                 // factor on all channel counts
  bool small_stem = false;          // for pictures of 32 to 96 px: 3 x 3 with stride 1 and no max-pool
  int64_t stem_padding = 1;         // around the picture, of the small stem: 1, or 2 as in solo-learn (32 px become 34)
  bool zero_init_residual = false;  // the last norm of each block begins at 0: blocks begin as the identity

  bool bottleneck() const { return depth >= 50; }
  int64_t planes(int64_t stage) const;  // of stage 0 to 3, before a bottleneck's expansion
  int64_t output_width() const { return planes(3) * (bottleneck() ? 4 : 1); }
  std::array<int64_t, 4> blocks() const;  // per stage
};

template <class Visit>
void VisitFields(ResnetConfig& c, Visit&& visit) {
  visit("depth", c.depth, Range<int64_t>{18, 50}, "layers: 18, 34 or 50");
  visit("width", c.width, Range<double>{1.0 / 64, 8}, "factor on all channel counts");
  visit("small_stem", c.small_stem, Any{}, "3 x 3 stem without max-pool, for pictures of 32 to 96 px");
  visit("stem_padding", c.stem_padding, RareRange<int64_t>{{1, 2}, 1}, "around the picture, of the 3 x 3 stem");
  visit("zero_init_residual", c.zero_init_residual, Any{}, "begin with every residual block as the identity");
}

struct ResidualBlock {
  std::vector<ConvWeights> convs;       // 3x3, 3x3 or 1x1, 3x3, 1x1; none has a bias
  std::vector<BatchNormWeights> norms;  // after each
  ConvWeights shortcut;                 // 1x1; undefined: the identity
  BatchNormWeights shortcut_norm;
  int64_t stride = 1;  // of the first 3x3
};

struct Resnet {
  ResnetConfig config;
  ConvWeights stem;
  BatchNormWeights stem_norm;
  std::array<std::vector<ResidualBlock>, 4> stages;
};

Resnet MakeResnet(const ResnetConfig& config);  // throws UsageError for another depth or padding
WeightList ListWeights(Resnet& net);
void InitResnet(Resnet& net, Seed seed);  // Kaiming normal by fan-out; norms 1 and 0

struct ResnetOutput {
  Tensor pooled;  // [N,D]
  Tensor map;     // [N,D,h,w], before pooling
};
// x: [N,3,H,W]. Training: norms by the batch, running statistics updated. Channels-last input stays channels-last.
ResnetOutput ForwardResnet(const Resnet& w, const Tensor& x, bool training);

}  // namespace genview
