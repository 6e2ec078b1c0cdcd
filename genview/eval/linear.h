// `eval linear`: a linear classifier on frozen features of uncropped pictures. Its learning rate is chosen on a part of
// the training pictures that is held out, then it is trained on all of them and tested once.
//
//   EvalResult result = EvalLinear(config, progress);
//
// This is not the protocol with augmented pictures that papers report on ImageNet: features are computed once, so that
// a run takes seconds. The result says how it was made (`settings`).
#pragma once

#include "genview/eval/evaluation.h"

namespace genview {

struct LinearConfig {
  EvalInputs inputs;
  int64_t epochs = 100;
  int64_t batch = 256;
  std::vector<double> lrs = {0.001, 0.003, 0.01, 0.03, 0.1, 0.3};
  double momentum = 0.9;
  double weight_decay = 0;
  bool standardise = true;
  double holdout = 0.1;
};

template <class Visit>
void VisitFields(LinearConfig& c, Visit&& visit) {
  VisitInputs(c.inputs, visit);
  visit("epochs", c.epochs, Range<int64_t>{1, 1 << 20}, "passes over the training features");
  visit("batch", c.batch, Range<int64_t>{1, 1 << 20}, "features per update");
  visit("lrs", c.lrs, Range<double>{1e-9, 1e6}, "learning rates tried, all at once");
  visit("momentum", c.momentum, Range<double>{0, 0.9999}, "of SGD");
  visit("weight_decay", c.weight_decay, Range<double>{0, 10}, "pull of the weights towards 0");
  visit("standardise", c.standardise, Any{}, "bring each feature to mean 0 and deviation 1 first");
  visit("holdout", c.holdout, Range<double>{0.01, 0.5},
        "share of the training pictures that the learning rate is chosen on");
}

EvalResult EvalLinear(const LinearConfig& config, Progress& progress);

}  // namespace genview
