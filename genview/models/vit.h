// The plain ViT under timm's names (vit_tiny/small/base_patch16), without the classifier.
//
//   Vit vit = MakeVit({.width = 384, .layers = 12, .heads = 6, .mlp_width = 1536});
//   InitVit(vit, Seed(0));
//   VitOutput out = ForwardVit(vit, pixels);
#pragma once

#include <string>
#include <vector>

#include "genview/base/fields.h"
#include "genview/models/blocks.h"

namespace genview {

enum class VitPositions {
  kLearned,  // as in timm
  kSinCos,   // two-dimensional sines and cosines, never trained, as in MoCo v3
};
template <>
struct EnumNames<VitPositions> {
  static constexpr std::pair<VitPositions, const char*> kNames[] = {{VitPositions::kLearned, "learned"},
                                                                    {VitPositions::kSinCos, "sincos"}};
};

inline constexpr double kVitNormEps = 1e-6;  // of timm's, torchvision's and most papers' ViTs; PyTorch's is 1e-5

struct VitConfig {
  int64_t width = 384;  // C
  int64_t layers = 12;
  int64_t heads = 6;
  int64_t mlp_width = 1536;
  int64_t patch_size = 16;   // px
  int64_t image_size = 224;  // px, square
  VitPositions positions = VitPositions::kLearned;
  bool frozen_patch = false;  // the patch projection keeps its random values (MoCo v3: training is steadier)
  double norm_eps = kVitNormEps;

  int64_t grid() const { return image_size / patch_size; }
  int64_t tokens() const { return grid() * grid(); }
};

struct Vit {
  VitConfig config;
  ConvWeights patch;   // [C,3,P,P] [C]
  Tensor class_token;  // [1,1,C]
  Tensor positions;    // [1,1+T,C]
  std::vector<EncoderBlock> blocks;
  NormWeights norm;
};

Vit MakeVit(const VitConfig& config);  // throws UsageError for sizes that do not fit together
WeightList ListWeights(Vit& vit);      // fixed positions and a frozen patch projection are buffers
// With learned positions timm's beginning (linear layers N(0, 0.02)); with sines and cosines MoCo v3's (Xavier-uniform,
// q, k and v as three matrices).
void InitVit(Vit& vit, Seed seed);
Tensor SinCosPositions(int64_t grid, int64_t width);  // [1+grid*grid,C]; the class token's row is 0

struct VitOutput {
  Tensor pooled;  // [N,C] class token after the last norm
  Tensor tokens;  // [N,T,C] patches after the last norm, row-major grid
};
// Drop path (G. Huang et al., 2016, "stochastic depth"), as in timm: in training a picture passes over a branch of a
// block by chance, and what the branches of the others add is divided by the share that is kept. The chance rises
// evenly from 0 in the first block to `rate` in the last.
struct DropPath {
  double rate = 0;
  Seed seed{0};
};
// [2,N,1,1] fp32: of both branches of a block, a factor of 0 or 1 / (1 - rate) per picture.
Tensor KeepFactors(double rate, Seed seed, int64_t pictures);

VitOutput ForwardVit(const Vit& w, const Tensor& pixels, const DropPath& drop = {});  // pixels: [N,3,S,S]

}  // namespace genview
