#include "genview/records/mean_interval.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace genview {

MeanInterval MeanWithInterval(const std::vector<double>& values) {
  // 97.5% of Student's t with 1, 2, ... degrees of freedom; beyond 30 the next term of its expansion in 1/n is enough.
  constexpr double kQuantiles[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                                   2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
                                   2.080,  2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};
  const auto n = static_cast<double>(values.size());
  MeanInterval result;
  for (const double value : values) result.mean += value / n;
  result.low = result.high = result.mean;
  if (values.size() < 2) return result;
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  const size_t freedom = values.size() - 1;
  const double quantile =
      freedom <= std::size(kQuantiles) ? kQuantiles[freedom - 1] : 1.95996 + 2.37227 / static_cast<double>(freedom);
  const double half = quantile * std::sqrt(squares / (n - 1) / n);
  result.low -= half;
  result.high += half;
  return result;
}

MeanInterval MeanOfPercents(const std::vector<double>& values) {
  MeanInterval result = MeanWithInterval(values);
  result.low = std::max(0.0, result.low);
  result.high = std::min(100.0, result.high);
  return result;
}

}  // namespace genview
