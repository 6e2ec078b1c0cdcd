// A score that is a mean over several trials: seeds, or draws of labels.
//
//   MeanInterval mean = MeanWithInterval({70.4, 69.3, 69.1});   // mean 69.6, low 67.9, high 71.3
#pragma once

#include <cstdint>
#include <vector>

namespace genview {

constexpr double kConfidence = 0.95;

// A variable is this far from 0 at most with probability `confidence`: a normal one of deviation 1, and Student's t
// with `freedom` degrees of freedom (at least 1).
double NormalQuantile(double confidence);
double StudentQuantile(double confidence, int64_t freedom);

struct MeanInterval {
  double mean = 0, low = 0, high = 0;  // low to high: interval of the mean
};

// Of `values`, with Student's t; of one value low and high are the value.
MeanInterval MeanWithInterval(const std::vector<double>& values, double confidence = kConfidence);
// Of shares in percent: the interval ends where a share does, at 0 and at 100.
MeanInterval MeanOfPercents(const std::vector<double>& values, double confidence = kConfidence);

}  // namespace genview
