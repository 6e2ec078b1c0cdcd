// The smallest pretraining there is, for tests.
#pragma once

#include "genview/pretrain/config.h"

namespace genview {

// Of a ResNet on views of 8 px, as a user would write it: what is left to the method is not filled in.
inline PretrainConfig TinyTraining(MethodKind method) {
  PretrainConfig config;
  config.method = method;
  config.width = 2.0 / 64;
  config.small_stem = true;
  config.size = 8;
  config.batch = 8;
  config.queue = 16;
  config.projector_output = 8;
  config.projector_hidden = config.predictor_hidden = 12;
  config.swav = {.prototypes = 7, .frozen_epochs = 1, .queue = 16, .queue_from_epoch = 1};
  config.epochs = 4;
  config.run.precision = Precision::kFp32;
  return config;
}

}  // namespace genview
