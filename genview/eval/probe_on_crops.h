// Linear classifiers trained as papers do on ImageNet: a random crop of each picture, drawn anew in every epoch,
// through the frozen encoder, whose features of a batch serve the classifiers of all rates.
//
//   Probe probe = MakeProbe(at::empty({0, encoder.embedding_width()}), classes, config, seed);
//   TrainProbeOnCrops(probe, encoder, {.labelled = labelled, .crops = LabelledCrops(...)}, config, skipped, progress);
//
// What comes out depends neither on threads nor, but to rounding, on how many pictures the loader hands over at a time:
// a step has `config.batch` of them. The encoder stays as it is: no weight and no running statistic of it moves.
#pragma once

#include <memory>
#include <string>

#include "genview/base/progress.h"
#include "genview/eval/labelled_crops.h"
#include "genview/eval/probe.h"
#include "genview/models/encoder.h"

namespace genview {

struct CropTraining {
  std::shared_ptr<const ImageSource> labelled;  // all of its pictures have a class
  PairLoaderConfig crops;                       // its batch: pictures that the encoder is given at a time
  // Folder for the state, from which the same call goes on after it was stopped or killed; empty: none. It is removed
  // by whoever has made use of the result.
  Path keep{};
  std::string request{};      // all that the result depends on: state of another request is passed over
  double keep_seconds = 300;  // at least, between two states
};

// Throws Error once no classifier's loss is a number.
void TrainProbeOnCrops(Probe& probe, const Encoder& encoder, const CropTraining& training, const ProbeConfig& config,
                       SkippedLog& skipped, Progress& progress);

}  // namespace genview
