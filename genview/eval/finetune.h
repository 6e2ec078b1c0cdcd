// `eval finetune`: the whole network trained on few labels (semi-supervised protocol: 1% or 10% of them), then tested
// once.
//
//   EvalResult result = EvalFinetune(config, progress);   // finetune.json; finetune-images.txt: pictures with labels
//
// SwAV's protocol: SGD, one rate for the encoder and one for the fresh linear classifier, both five times smaller at
// three fifths and at four fifths of the steps, norms in training mode, crops and flips. The labelled pictures are a
// list (the 1% and 10% lists of SimCLR) or drawn, the same share of every class.
#pragma once

#include "genview/eval/evaluation.h"
#include "genview/train/schedule.h"

namespace genview {

struct FinetuneConfig {
  EvalInputs inputs;
  Path list;
  int64_t epochs = 20;
  int64_t batch = 256;
  double lr = 0, head_lr = 0;
  double momentum = 0.9;
  double weight_decay = 0;
  double drop_path = 0;
};

template <class Visit>
void VisitFields(FinetuneConfig& c, Visit&& visit) {
  VisitInputs(c.inputs, visit);
  visit("list", c.list, Any{},
        "file that names the pictures with labels, one a line: their ids or file names; empty = `fraction` of each "
        "class");
  visit("epochs", c.epochs, Range<int64_t>{1, 1 << 20}, "passes over the labelled pictures");
  visit("batch", c.batch, Range<int64_t>{2, 1 << 20}, "pictures per update");
  visit("lr", c.lr, Range<double>{0, 1000},
        "learning rate of the encoder; 0 = 0.02 below 5% of the pictures, else 0.01");
  visit("head_lr", c.head_lr, Range<double>{0, 1000},
        "learning rate of the classifier; 0 = 5 below 5% of the pictures, else 0.2");
  visit("momentum", c.momentum, Range<double>{0, 0.9999}, "of SGD");
  visit("weight_decay", c.weight_decay, Range<double>{0, 10}, "pull of the weights towards 0");
  visit("drop_path", c.drop_path, Range<double>{0, 0.9},
        "ViT: chance that a picture passes over a branch of the last block, in earlier blocks less; 0 = off");
}

// Factor on both rates: 1, from three fifths of the steps on 0.2, from four fifths on 0.04.
Schedule FinetuneSchedule(int64_t steps);

EvalResult EvalFinetune(const FinetuneConfig& config, Progress& progress);

}  // namespace genview
