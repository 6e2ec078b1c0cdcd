// UNet2DConditionModel of diffusers: the network that removes noise from latent pictures, told the time, an image
// embedding (class vector) and, where its blocks attend to one, a text.
//
//   Unet unet = ReadUnetFolder("generator/unet");                        // config.json + diffusion_pytorch_model.safetensors
//   Tensor v = ForwardUnet(unet, latents, timesteps, class_labels, prompt);
//
//   Unet fresh = MakeUnet(config);  InitWeights(ListWeights(fresh), seed);  UseChannelsLast(ListWeights(fresh));
//   WriteUnetFolder(fresh, "out/unet");                                  // diffusers loads it
#pragma once

#include "genview/base/json.h"
#include "genview/models/diffusion_blocks.h"

namespace genview {

struct UnetConfig {
  int64_t sample_size = 64;  // latent height and width it was made for
  int64_t in_channels = 4, out_channels = 4;
  std::vector<std::string> down_blocks{"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
                                       "DownBlock2D"};
  std::string mid_block = "UNetMidBlock2DCrossAttn";  // "": none
  std::vector<std::string> up_blocks{"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"};
  std::vector<int64_t> channels{320, 640, 1280, 1280};
  // One number per down block. `attention_head_dim` has two meanings in these files: the number of heads of a
  // CrossAttn* block, the channels of one head of an Attn* block.
  std::vector<int64_t> layers_per_block{2, 2, 2, 2};
  std::vector<int64_t> attention_head_dim{8, 8, 8, 8};
  std::vector<int64_t> cross_attention_dim{1280, 1280, 1280, 1280};
  std::vector<int64_t> transformer_layers{1, 1, 1, 1};
  bool use_linear_projection = false;
  bool upcast_attention = false;  // kept for the file; the kernels sum in fp32 anyway
  int64_t class_width = 0;        // of the class vector; 0: none
  bool flip_sin_to_cos = true;
  double freq_shift = 0;
  int64_t groups = 32;
  double eps = 1e-5;

  bool HasCrossAttention() const;
};

UnetConfig ParseUnetConfig(const Json& json, const std::string& where);  // throws Error naming what is not supported
Json UnetConfigToJson(const UnetConfig& config);

struct TransformerBlock {           // self-attention, attention to the text, gated feed-forward; each pre-norm
  NormWeights norm1, norm2, norm3;  // [C]
  LinearWeights q1, k1, v1, out1;   // [C,C], q k v without bias
  LinearWeights q2, k2, v2, out2;   // k, v: [C,D]
  LinearWeights gate, down;         // [8C,C], [C,4C]
};
struct Transformer {  // over the pixels, with a residual
  NormWeights norm;
  LinearWeights proj_in, proj_out;  // [C,C], in older models stored as [C,C,1,1]
  std::vector<TransformerBlock> blocks;
};

struct UnetBlock {  // one resolution, on the way down or up
  std::vector<ResnetBlock> resnets;
  std::vector<Transformer> transformers;     // CrossAttn*: one per resnet
  std::vector<SpatialAttention> attentions;  // Attn*: one per resnet
  ConvWeights sampler;                       // the change of resolution after the block; undefined at the end
  int64_t heads = 1;
};

struct Unet {
  UnetConfig config;
  ConvWeights conv_in;
  EmbeddingMlp time;             // -> [N,4 C0]
  EmbeddingMlp class_embedding;  // undefined without class vector
  std::vector<UnetBlock> down, up;
  UnetBlock mid;  // no resnets: none
  NormWeights norm_out;
  ConvWeights conv_out;
};

Unet MakeUnet(const UnetConfig& config);
WeightList ListWeights(Unet& unet);

// sample: [N,Cin,h,w]; timesteps: [N]; class_labels: [N,P] or undefined; prompt: [N,T,D] or undefined, as the config
// asks.
// -> [N,Cout,h,w], in the memory order of the weights.
Tensor ForwardUnet(const Unet& w, const Tensor& sample, const Tensor& timesteps, const Tensor& class_labels,
                   const Tensor& prompt);

// Channels-last.
Unet ReadUnetFolder(const Path& folder, Reads reads = Reads::kAll);
void WriteUnetFolder(Unet& unet, const Path& folder, at::ScalarType dtype = at::kFloat);

}  // namespace genview
