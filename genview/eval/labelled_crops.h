// What a classifier is trained on, in `eval finetune` and in `eval linear` with crops: a random crop of every labelled
// picture, half of them flipped, drawn anew in each epoch.
//
//   PairLoader loader(labelled, nullptr, LabelledCrops(preprocess, 256, seed, run), skipped);
//   for (loader.Start(epoch); loader.Next(batch);) Step(batch.view1, LabelsOf(*labelled, batch.indices));
#pragma once

#include <vector>

#include "genview/data/loader.h"
#include "genview/tensor/run_options.h"

namespace genview {

// Crops of 0.08 to 1 of a picture, of the size and in the colours of `preprocess`. All pictures are in every epoch.
PairLoaderConfig LabelledCrops(const Preprocess& preprocess, int64_t batch, Seed seed, const RunOptions& run);

Tensor LabelsOf(const ImageSource& labelled, const std::vector<int64_t>& indices);  // [N] int64

}  // namespace genview
