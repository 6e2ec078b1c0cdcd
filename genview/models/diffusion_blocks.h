// The blocks that the UNet and the autoencoder of a latent diffusion model share, as plain functions over weights.
// Pictures are [N,C,H,W] in channels-last memory throughout: a picture seen as tokens [N,HW,C] is then a view.
#pragma once

#include "genview/models/group_norm.h"

namespace genview {

// The first version of diffusers that knows every member of the configs that are written (mid_block_add_attention came
// last).
inline constexpr const char* kDiffusersVersion = "0.30.0";

// Positions or times as waves: [sin | cos] halves (`cos_first`: [cos | sin]) of t * 10000^(-k / (width/2 - shift)).
// t: [N], any number type. -> [N,width] fp32; the last column is 0 when width is odd.
Tensor SinusoidEmbedding(const Tensor& t, int64_t width, bool cos_first, double shift);

struct EmbeddingMlp {  // Linear, SiLU, Linear
  LinearWeights linear1, linear2;
};
EmbeddingMlp MakeEmbeddingMlp(int64_t in, int64_t out);
void Append(WeightList& list, const std::string& prefix, EmbeddingMlp& w);
Tensor ForwardEmbeddingMlp(const EmbeddingMlp& w, const Tensor& x);

struct ResnetBlock {     // pre-norm residual block
  NormWeights norm1;     // [Cin]
  ConvWeights conv1;     // [C,Cin,3,3]
  LinearWeights time;    // [C,T]; undefined without time
  NormWeights norm2;     // [C]
  ConvWeights conv2;     // [C,C,3,3]
  ConvWeights shortcut;  // [C,Cin,1,1]; undefined where Cin = C
};
ResnetBlock MakeResnetBlock(int64_t in, int64_t out, int64_t time_width);  // time_width 0: without time
void Append(WeightList& list, const std::string& prefix, ResnetBlock& w);
// x: [N,Cin,H,W], given away where memory counts; time: [N,T] after its SiLU, undefined where the block has none. ->
// [N,C,H,W]
Tensor ForwardResnetBlock(const ResnetBlock& w, Tensor x, const Tensor& time, int64_t groups, double eps);

struct SpatialAttention {  // self-attention over the pixels, with a residual
  NormWeights norm;        // [C]
  LinearWeights q, k, v, out;
};
SpatialAttention MakeSpatialAttention(int64_t channels);
void Append(WeightList& list, const std::string& prefix, SpatialAttention& w);
Tensor ForwardSpatialAttention(const SpatialAttention& w, const Tensor& x, int64_t heads, int64_t groups, double eps);

Tensor Conv3x3(const ConvWeights& w, const Tensor& x, int64_t stride = 1);  // padding 1
Tensor Plus(Tensor x, const Tensor& y);  // in the memory of x where nothing is differentiated
// Nearest neighbour to twice the size (or to height x width), then a 3x3 convolution.
Tensor Upsample(const ConvWeights& w, const Tensor& x, int64_t height, int64_t width);

Tensor PixelsToTokens(const Tensor& x);                                 // [N,C,H,W] -> [N,HW,C]
Tensor TokensToPixels(const Tensor& x, int64_t height, int64_t width);  // [N,HW,C] -> [N,C,H,W], channels-last

}  // namespace genview
