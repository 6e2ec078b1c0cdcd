// Stable unCLIP 2-1 in one file, as its authors train and publish it (sd21-unclip-h.ckpt, sd21-unclip-l.ckpt): all
// networks in one state dict, under the names of the original programs for latent diffusion (LDM).
//
//   const WeightMap file = ReadLdmFile("sd21-unclip-h.safetensors");    // mapped; refused where a network is missing
//   Unet unet = ReadLdmUnet(file, Reads::kAll);
//
// Widths and depths are those of the tensors. What no tensor says is the same in every model of the family: heads of 64
// channels in the UNet, 16 heads in both towers of CLIP, norms of 32 groups, latents scaled by 0.18215, 768 pixels.
#pragma once

#include "genview/models/clip_text.h"
#include "genview/models/encoder_files.h"
#include "genview/models/unet.h"
#include "genview/models/vae.h"

namespace genview {

// What the names of a network's tensors begin with. kLdmClass: of the class embedding in the UNet, which other Stable
// Diffusion models lack.
inline constexpr const char *kLdmUnet = "model.diffusion_model.", *kLdmClass = "model.diffusion_model.label_emb.",
                            *kLdmVae = "first_stage_model.", *kLdmText = "cond_stage_model.model.",
                            *kLdmImage = "embedder.model.visual.";
std::string_view LdmName(std::string_view tensor);  // of a file's tensor: without the `state_dict.` of trainings

// safetensors or PyTorch's own format, there under `state_dict` too. Throws Error that names what the file lacks to be
// a generator of views.
WeightMap ReadLdmFile(const Path& path);

// All throw Error that names tensors as the file does. What the shapes say is within the bounds of the config files.
UnetConfig LdmUnetConfig(const WeightMap& file);
VaeConfig LdmVaeConfig(const WeightMap& file);
ClipTextConfig LdmTextConfig(const WeightMap& file);
Unet ReadLdmUnet(const WeightMap& file, Reads reads);
Vae ReadLdmVae(const WeightMap& file, Reads reads);
// open_clip's tower of texts without its last block: what the UNet attends to is what comes before that.
ClipText ReadLdmText(const WeightMap& file, Reads reads);

// Of -h the image tower is one of open_clip, of -l OpenAI's ViT-L/14, whose GELU is the quick one. Its weights go by
// open_clip's names in both.
TowerFiles LdmTowerFiles(const WeightMap& file);

// The name here of a weight that ListWeights names as diffusers does.
std::string LdmUnetName(const std::string& name, const UnetConfig& config);
std::string LdmVaeName(const std::string& name, const VaeConfig& config);

}  // namespace genview
