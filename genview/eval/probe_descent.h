// Stochastic gradient descent of linear classifiers that lie side by side, on rows that all of them see: two sweeps
// over a batch, one that makes the slopes of its rows and one that moves the weights of each feature. What a sweep
// reads is read once and stays in the cache.
//
//   DescentPlan plan{.features = features, .mean = mean, .scale = scale, .labels = labels, ...};
//   auto descent = MakeProbeDescent(plan, /*split=*/false);
//   descent->Step(places, count, rates);
//   Tensor trained = descent->weight();
//
// The numbers do not depend on how many threads there are.
#pragma once

#include <memory>

#include "genview/tensor/tensor.h"

namespace genview {

struct DescentPlan {
  Tensor features;      // [M,D]; they enter as (x - mean) * scale
  Tensor mean, scale;   // [D] fp32
  Tensor labels;        // [M] int64, 0 to classes-1
  int64_t classes = 2;  // C, of each of the R classifiers
  Tensor weight;        // [D,R*C] fp32, to begin with
  Tensor bias;          // [R*C]
  int64_t batch = 256;  // rows of a step, at most
  double momentum = 0.9, weight_decay = 0;
};

class ProbeDescent {
 public:
  virtual ~ProbeDescent() = default;
  // On the mean cross-entropy of rows `places`: v <- momentum v + slope + weight_decay w; w <- w - rate v.
  // rates: [R*C].
  virtual void Step(const int64_t* places, int64_t count, const float* rates) = 0;
  virtual Tensor weight() const = 0;  // [D,R*C]
  virtual Tensor bias() const = 0;    // [R*C]
};

// split: products of bf16 halves in place of fp32, exact to 16 bits; for processors with AMX, where they are several
// times faster.
std::unique_ptr<ProbeDescent> MakeProbeDescent(const DescentPlan& plan, bool split);

}  // namespace genview
