// The smallest generator there is, for the tests of this folder.
#pragma once

#include "genview/generator/train.h"
#include "genview/models/clip_vision.h"
#include "genview/tensor/safetensors.h"

namespace genview {

// An untrained tower in Hugging Face layout, in `folder`; returns it.
inline Path WriteTinyTower(const Path& folder) {
  ClipVision vision = MakeClipVision(
      {.width = 16, .layers = 1, .heads = 2, .mlp_width = 32, .patch_size = 8, .image_size = 16, .embedding_width = 8});
  InitClipVision(vision, Seed(4));
  WriteSafetensors(folder / "model.safetensors", ClipTensors(vision, ClipLayout::kHuggingFace));
  WriteJson(folder / "config.json", ClipConfigToHuggingFace(vision.config));
  return folder;
}

inline GeneratorConfig TinyGenerator(const Path& tower, const Path& out) {
  GeneratorConfig c;
  c.images = "shapes:count=20,size=16,seed=9";
  c.encoder = tower;
  c.out = out;
  c.size = 16;
  c.cache = 12;
  c.autoencoder.channels = {8, 8};
  c.autoencoder.groups = 4;
  c.autoencoder.training = {.steps = 3, .shards = 2, .batch = 4, .warmup = 1, .save_every = 2, .log_every = 1};
  c.denoiser.channels = {8, 16};
  c.denoiser.groups = 4;
  c.denoiser.head_width = 4;
  c.denoiser.training = {.steps = 3, .shards = 2, .batch = 4, .warmup = 1, .save_every = 2, .log_every = 1};
  c.run.precision = Precision::kFp32;
  return c;
}

}  // namespace genview
