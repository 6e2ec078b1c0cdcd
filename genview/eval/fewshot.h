// `eval fewshot`: how well classes are told apart when only a few pictures of each have a label. For every number of
// pictures per class several balanced draws are made; each class is the mean of its pictures' features, and a test
// picture belongs to the class whose mean is nearest by cosine. Nothing is fitted, so there is nothing to choose.
//
//   EvalResult result = EvalFewshot(config, progress);   // fewshot.json, and fewshot-images.tsv: which pictures were drawn
#pragma once

#include "genview/eval/evaluation.h"

namespace genview {

struct FewshotConfig {
  EvalInputs inputs;
  std::vector<int64_t> shots = {1, 5, 10};
  int64_t draws = 10;
};

template <class Visit>
void VisitFields(FewshotConfig& c, Visit&& visit) {
  VisitInputs(c.inputs, visit);
  visit("shots", c.shots, Range<int64_t>{1, 1 << 20},
        "pictures of each class that have a label; the last number gives the score");
  visit("draws", c.draws, Range<int64_t>{1, 1000}, "times that the pictures are drawn");
}

// top1 and top5 are means over the draws of the last number of pictures, and top1_low to top1_high and top5_range the
// 95% intervals of these means; `settings` has the same of every number (`top1_by_shots`). A draw is a function of
// (seed, draw, class) alone, and what is drawn of 5 pictures is among what is drawn of 10.
EvalResult EvalFewshot(const FewshotConfig& config, Progress& progress);

// Mean features of classes, and how near rows are to each by cosine. rows [M,D], labels [M], queries [N,D] ->
// [N,classes].
Tensor ScoresByMeans(const Tensor& rows, const Tensor& labels, const Tensor& queries, int64_t classes);

}  // namespace genview
