// What the denoiser of a generator learns from: latents and embeddings of its pictures, computed once.
//
//   LatentPictures cached = CacheLatents({pictures, tower, vae, out / "training", identity, 30000, /*batch=*/0, device,
//                                         compute}, progress);
#pragma once

#include "genview/generator/denoiser.h"
#include "genview/generator/image_tower.h"
#include "genview/generator/pictures.h"
#include "genview/models/vae.h"

namespace genview {

struct LatentsRun {  // borrowed for the call
  const TrainingPictures& pictures;
  ImageTower& tower;  // on `device` while they are computed, then on the CPU
  const Vae& vae;
  Path folder;
  Json identity;  // what they depend on
  int64_t count;  // pictures, from the beginning of the order
  int64_t batch;  // pictures encoded together; 0: as many as fit
  at::Device device;
  at::ScalarType compute;
};

// Those of folder/latents.safetensors, if they are of this identity, and with them the names of the pictures that were
// left out until then. Writes the file otherwise. Resumes: until it is whole, each 1024 pictures are in a file beside
// it, latents-N.safetensors, where N is the first of them.
LatentPictures CacheLatents(const LatentsRun& run, Progress& progress);

}  // namespace genview
