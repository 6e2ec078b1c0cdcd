// `eval knn`: how often the nearest training pictures, by frozen features, have the right class (see knn_votes.h).
//
//   KnnConfig config;
//   config.inputs.checkpoint = "runs/demo/baseline/pretrain/encoder.safetensors"; ...
//   EvalResult result = EvalKnn(config, progress);
#pragma once

#include "genview/eval/evaluation.h"

namespace genview {

struct KnnConfig {
  EvalInputs inputs;
  int64_t k = 20;
  double temperature = 0.07;
};

template <class Visit>
void VisitFields(KnnConfig& c, Visit&& visit) {
  VisitInputs(c.inputs, visit);
  visit("k", c.k, Range<int64_t>{1, 1 << 20}, "neighbours that vote");
  visit("temperature", c.temperature, Range<double>{1e-3, 100}, "a vote counts exp(cosine / temperature)");
}

// `settings` of the result also holds the first score for other k (`top1_by_k`); choose none of them by looking at it.
EvalResult EvalKnn(const KnnConfig& config, Progress& progress);

}  // namespace genview
