// CLIP's ConvNeXt image towers as open_clip builds them: a trunk of timm, a pooled norm and a projection.
//
//   ConvNext tower = MakeConvNext(ConvNextConfigFromOpenClip(json, "open_clip_config.json"));
//   WeightReader reader(weights);
//   LoadConvNext(tower, reader);
//   reader.Finish(ClipIgnored(ClipLayout::kOpenClip));
//   FuseConvNext(tower);                                  // frozen towers alone
//   ConvNextOutput out = ForwardConvNext(tower, pixels);
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "genview/base/json.h"
#include "genview/models/blocks.h"

namespace genview {

enum class ClipProjection { kNone, kLinear, kMlp, kTrunk };  // kTrunk: by the classifier of the trunk

struct ConvNextConfig {
  std::array<int64_t, 4> depths{3, 3, 27, 3};
  std::array<int64_t, 4> widths{128, 256, 512, 1024};
  std::array<int64_t, 4> kernels{7, 7, 7, 7};  // of the depthwise convolutions
  Activation activation = Activation::kGelu;
  double eps = 1e-6;
  bool conv_mlp = false;  // the files have the block's linear layers as 1 x 1 convolutions
  ClipProjection projection = ClipProjection::kLinear;
  bool projection_bias = false;
  int64_t embedding_width = 640;  // D
  int64_t image_size = 256;       // px, square

  int64_t grid() const { return image_size / 4 / 2 / 2 / 2; }  // each convolution rounds down
};

// True when `model_cfg` of open_clip_config.json asks for a ConvNeXt of timm.
bool IsConvNext(const Json& config);
// Throws Error that names the option which asks for another architecture, or the known towers.
ConvNextConfig ConvNextConfigFromOpenClip(const Json& config, std::string_view where);
double CountConvNextParameters(const ConvNextConfig& c);  // without building it

struct ConvNextBlock {
  ConvWeights spatial;  // depthwise [C,1,k,k]
  NormWeights norm;     // over the channels
  LinearWeights fc1, fc2;
  Tensor gamma;  // [C], of the whole branch; undefined without, and once it is fused
};
struct ConvNextStage {
  NormWeights norm;  // before the change of resolution; undefined where there is none
  ConvWeights down;  // [C,C',2,2]
  std::vector<ConvNextBlock> blocks;
};
struct ConvNext {
  ConvNextConfig config;
  ConvWeights stem;  // [C,3,4,4]
  NormWeights stem_norm;
  std::vector<ConvNextStage> stages;
  NormWeights norm;        // of the pooled map
  LinearWeights proj;      // kLinear, kTrunk: [D,C]
  LinearWeights fc1, fc2;  // kMlp: [2D,C], [D,2D]
};

ConvNext MakeConvNext(const ConvNextConfig& config);
WeightList ListWeights(ConvNext& model);                   // open_clip's names without `visual.`
void LoadConvNext(ConvNext& model, WeightReader& reader);  // channels-last
// For towers that are not trained: gamma goes into the linear layer before it, the norm's scale and shift into the one
// after it. Two passes over the pictures less in every block; results change to rounding.
void FuseConvNext(ConvNext& model);

struct ConvNextOutput {
  Tensor embedding;  // [N,D], not normalised
  Tensor tokens;     // [N,T,C] the last map, before any norm, row-major
};
ConvNextOutput ForwardConvNext(const ConvNext& w, const Tensor& pixels);  // pixels: [N,3,S,S]

}  // namespace genview
