// AutoencoderKL of diffusers: pictures to latents and back.
//
//   Vae vae = ReadVaeFolder("generator/vae");
//   VaeMoments m = EncodeVae(vae, pixels);                        // pixels in [-1, 1]
//   Tensor picture = DecodeVae(vae, latents / vae.config.scaling_factor);
#pragma once

#include "genview/base/json.h"
#include "genview/models/diffusion_blocks.h"

namespace genview {

struct VaeConfig {
  int64_t in_channels = 3, out_channels = 3, latent_channels = 4;
  std::vector<int64_t> channels{128, 256, 512, 512};
  int64_t layers_per_block = 2;
  int64_t groups = 32;
  int64_t sample_size = 512;
  double scaling_factor = 0.18215;
  bool use_quant_conv = true, use_post_quant_conv = true;
  bool mid_attention = true;

  int64_t scale() const { return int64_t{1} << (channels.size() - 1); }  // picture pixels per latent pixel
};

VaeConfig ParseVaeConfig(const Json& json, const std::string& where);  // throws Error naming what is not supported
Json VaeConfigToJson(const VaeConfig& config);

struct VaeBlock {  // one resolution
  std::vector<ResnetBlock> resnets;
  ConvWeights sampler;  // undefined at the end
};
struct VaeMid {
  ResnetBlock first, second;
  SpatialAttention attention;  // undefined where the config has none
};
struct VaeHalf {  // encoder or decoder
  ConvWeights conv_in;
  VaeMid mid;
  std::vector<VaeBlock> blocks;
  NormWeights norm_out;
  ConvWeights conv_out;
};
struct Vae {
  VaeConfig config;
  VaeHalf encoder, decoder;
  ConvWeights quant_conv, post_quant_conv;
};

Vae MakeVae(const VaeConfig& config);
WeightList ListWeights(Vae& vae);

struct VaeMoments {
  Tensor mean, logvar;  // [N,L,h,w]; logvar clamped to [-30, 20]
};
VaeMoments EncodeVae(const Vae& w, const Tensor& pixels);  // [N,3,H,W] in [-1, 1]; H and W multiples of scale()
Tensor DecodeVae(const Vae& w, const Tensor& latents);     // [N,L,h,w] unscaled -> [N,3,H,W], about [-1, 1]

// The same in tiles of the size that the autoencoder was trained with, which overlap by a quarter and fade into each
// other, as diffusers computes it after enable_vae_tiling(): memory then does not grow with the picture. Every tile is
// normalised for itself, so a picture of several tiles differs a little from that of DecodeVae; one of a single tile
// does not. fp32 out.
Tensor DecodeVaeInTiles(const Vae& w, const Tensor& latents);
int64_t VaeTileSide(const VaeConfig& config);  // in latents; a multiple of 4

// How many pictures of so many pixels each go through the autoencoder together, so that its widest layers fit into
// memory: at 768 px the last ones hold 1.8 GB of activations for each.
int64_t VaePicturesAtOnce(int64_t pixels);

// Memory that DecodeVae takes for one picture beside the weights, about, in fp32.
uint64_t DecodeVaeBytes(const VaeConfig& config, int64_t h, int64_t w);

// Channels-last.
Vae ReadVaeFolder(const Path& folder, Reads reads = Reads::kAll);
void WriteVaeFolder(Vae& vae, const Path& folder, at::ScalarType dtype = at::kFloat);

}  // namespace genview
