// A score that is a mean over several trials: seeds, or draws of labels.
//
//   MeanInterval mean = MeanWithInterval({70.4, 69.3, 69.1});   // mean 69.6, low 67.9, high 71.3
#pragma once

#include <vector>

namespace genview {

struct MeanInterval {
  double mean = 0, low = 0, high = 0;  // low to high: 95% interval of the mean
};

// Of `values`, with Student's t; of one value low and high are the value.
MeanInterval MeanWithInterval(const std::vector<double>& values);
// Of shares in percent: the interval ends where a share does, at 0 and at 100.
MeanInterval MeanOfPercents(const std::vector<double>& values);

}  // namespace genview
