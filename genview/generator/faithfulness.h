// Does a generated view show what its image showed? Measured on procedural pictures, whose class is known: a classifier
// that has never seen the generator (a small ResNet, trained on pictures of yet another seed) names the class of every
// view, and the share of views that keep their image's class is tabled by noise level.
//
//   Faithfulness table = MeasureFaithfulness({.generator = "models/demo/unclip", .out = "runs/faithfulness"}, progress);
#pragma once

#include "genview/base/progress.h"
#include "genview/generator/training.h"
#include "genview/models/resnet.h"
#include "genview/tensor/run_options.h"

namespace genview {

// The classifier. It sees pictures in [-1, 1].
struct Judge {
  Resnet net;
  LinearWeights head;
};
WeightList ListWeights(Judge& judge);

struct JudgeConfig {
  int64_t size = 32;  // px
  uint64_t pictures_seed = 3'000'000;
  ResnetConfig backbone{.depth = 18, .width = 0.5};
  TrainingOptions training{.steps = 1500, .shards = 1, .batch = 64, .lr = 2e-3, .weight_decay = 0.01, .average = 0};
};
template <class Visit>
void VisitFields(JudgeConfig& c, Visit&& visit) {
  visit("size", c.size, Range<int64_t>{8, 512}, "width and height of the pictures, in pixels");
  visit("pictures_seed", c.pictures_seed, Any{}, "seed of the pictures it is trained on");
  visit("backbone", c.backbone, Section{}, "its network");
  visit("training", c.training, Section{}, "how it is trained; one shard, since it normalises by the batch");
}

Judge TrainJudge(const JudgeConfig& config, const Path& folder, const RunOptions& run, Progress& progress);
Tensor JudgeClasses(const Judge& judge, const Tensor& pixels);  // [N,3,S,S] in [-1, 1] -> [N] int64

struct FaithfulnessConfig {
  Path generator;
  Path out;
  int64_t pictures = 500;  // per level
  uint64_t pictures_seed = 4'000'000;
  std::vector<int64_t> levels{0, 100, 200, 300, 400};
  int64_t steps = 20;
  double guidance = 3;
  std::string scheduler;  // "": the generator's own
  JudgeConfig judge;
  RunOptions run;
};
template <class Visit>
void VisitFields(FaithfulnessConfig& c, Visit&& visit) {
  visit("generator", c.generator, Required{}, "pipeline folder, or single file, to measure");
  visit("out", c.out, Required{}, "folder for the classifier and faithfulness.json");
  visit("pictures", c.pictures, Range<int64_t>{1, 1'000'000}, "images per noise level");
  visit("pictures_seed", c.pictures_seed, Any{}, "seed of the images");
  visit("levels", c.levels, Range<int64_t>{0, 999}, "noise levels");
  visit("steps", c.steps, Range<int64_t>{1, 1000}, "denoising steps");
  visit("guidance", c.guidance, Range<double>{0, 100}, "classifier-free guidance scale");
  visit("scheduler", c.scheduler, Any{}, "scheduler in place of the generator's own");
  visit("judge", c.judge, Section{}, "the classifier");
  visit("run", c.run, Section{}, "where it is computed");
}

struct FaithfulnessRow {
  int64_t level = 0;
  double kept = 0, low = 0, high = 0;  // percent of views whose class is the image's; 95% interval
  double cosine = 0;                   // mean between the embeddings of image and view
};
struct Faithfulness {
  double real = 0;  // percent of the images themselves that the classifier names rightly: the ceiling
  std::vector<FaithfulnessRow> rows;
};

// Writes out/faithfulness.json and out/views.png (a row per picture: itself, then its view at each level).
Faithfulness MeasureFaithfulness(const FaithfulnessConfig& config, Progress& progress);

}  // namespace genview
