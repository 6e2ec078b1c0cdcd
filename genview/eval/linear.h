// `eval linear`: a linear classifier on what a frozen encoder makes of pictures, tested once on their middle.
//
//   EvalResult result = EvalLinear(config, progress);
//
// Without `crops` the features of uncropped pictures are computed once, so that a run takes seconds; with them the
// classifier is trained on random crops and flips that are drawn anew in each epoch, the protocol that papers report on
// ImageNet, and the pictures go through the encoder in every epoch. The result says how it was made (`settings`).
//
// Of several learning rates, all trained at once, one is chosen on a part of the training pictures that is held out.
// Without crops it is then trained again on all of them; with crops, where that would take as long again, the
// classifier that was chosen is the one that is tested. A rate alone is trained on all pictures. Where every class has
// one picture nothing can be held out: the middle rate is taken, and the result says so.
#pragma once

#include "genview/eval/evaluation.h"
#include "genview/eval/probe.h"

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
  bool crops = false;
  ProbeOptimizer optimizer = ProbeOptimizer::kSgd;
  bool nesterov = false;
  ScheduleKind schedule = ScheduleKind::kCosine;
  bool per_epoch = false;
  double init = 0.01;
};

template <class Visit>
void VisitFields(LinearConfig& c, Visit&& visit) {
  VisitInputs(c.inputs, visit);
  visit(
      "crops", c.crops, Any{},
      "train on random crops and flips, drawn anew in each epoch, as papers do on ImageNet; false: on features of the "
      "middle, computed once");
  visit("epochs", c.epochs, Range<int64_t>{1, 1 << 20}, "passes over the training features");
  visit("batch", c.batch, Range<int64_t>{1, 1 << 20}, "features per update");
  visit("optimizer", c.optimizer, Any{},
        "how weights are updated; of the kinds of lars, lars-mmpretrain and larc scale the biases, too");
  visit("lrs", c.lrs, Range<double>{1e-9, 1e6}, "learning rates tried, all at once");
  visit("momentum", c.momentum, Range<double>{0, 0.9999}, "of sgd and the kinds of lars");
  visit("nesterov", c.nesterov, Any{}, "sgd: look ahead along the momentum");
  visit("weight_decay", c.weight_decay, Range<double>{0, 10}, "pull of the weights towards 0");
  visit("schedule", c.schedule, Any{},
        "how the learning rate falls; step = to a tenth at 60% of the epochs, again at 80%");
  visit("per_epoch", c.per_epoch, Any{}, "change the rate at each epoch instead of each update");
  visit("init", c.init, Range<double>{0, 10}, "deviation of the first weights; biases begin at 0");
  visit("standardise", c.standardise, Any{}, "bring each feature to mean 0 and deviation 1 first");
  visit("holdout", c.holdout, Range<double>{0.01, 0.5},
        "share of the training pictures that the learning rate is chosen on");
}

// Training pictures by their places: those that classifiers are fitted on, and those that a rate is chosen on.
struct RateSplit {
  std::vector<int64_t> fit, held;
};
// The first `held` of a random order that leave their class a picture to be fitted on: of a class that no classifier
// has seen none is right, whatever its rate. Both parts are in that order.
RateSplit SplitForRates(const std::vector<int64_t>& labels, int64_t held, Seed seed);

// Throws UsageError for values that do not go together.
void CheckLinear(const LinearConfig& config);

EvalResult EvalLinear(const LinearConfig& config, Progress& progress);

}  // namespace genview
