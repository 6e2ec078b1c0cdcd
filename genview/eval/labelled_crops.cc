#include "genview/eval/labelled_crops.h"

namespace genview {

PairLoaderConfig LabelledCrops(const Preprocess& preprocess, int64_t batch, Seed seed, const RunOptions& run) {
  PairLoaderConfig loader;
  loader.one_view = true;
  loader.view1 = AugmentPreset("linear");
  loader.view1.size = preprocess.size;
  loader.batch = batch;
  loader.least_rest = 1;
  loader.threads = run.threads;
  loader.seed = seed.key();
  loader.strict = run.strict;
  loader.mean = preprocess.mean;
  loader.std = preprocess.std;
  return loader;
}

Tensor LabelsOf(const ImageSource& labelled, const std::vector<int64_t>& indices) {
  std::vector<int64_t> labels;
  for (const int64_t i : indices) labels.push_back(labelled.item(i).label);
  return at::tensor(labels, at::kLong);
}

}  // namespace genview
