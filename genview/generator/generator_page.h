// What a trained generator makes of its own images, for people: reconstructions.png, samples.png and index.html.
#pragma once

#include "genview/generator/pictures.h"
#include "genview/tensor/device.h"

namespace genview {

struct GeneratorPage {  // borrowed for the call
  Path folder;          // of the written generator
  const TrainingPictures& pictures;
  Json summary;
  uint64_t seed = 0;
  at::Device device;
  at::ScalarType compute;
};

// reconstructions.png: pairs, the image and what the autoencoder gives back. samples.png: a row per image, itself and a
// view at each of the levels 0, 100, 200, 300, 400.
void WriteGeneratorPage(const GeneratorPage& page);

}  // namespace genview
