#include "genview/records/mean_interval.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace genview {
namespace {

// Where a rising function of [low, high] is `value`.
template <class Function>
double Solve(Function&& function, double value, double low, double high) {
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (function(middle) < value ? low : high) = middle;
  }
  return (low + high) / 2;
}

// How probably Student's t is less than sqrt(freedom) * tan(angle) from 0: Abramowitz and Stegun, 26.7.3 and 26.7.4.
double StudentWithin(double angle, int64_t freedom) {
  const double sine = std::sin(angle), cosine = std::cos(angle);
  double term = freedom % 2 == 0 ? 1 : cosine, sum = 0;
  for (int64_t k = freedom % 2; k <= freedom - 2; k += 2) {
    sum += term;
    term *= static_cast<double>(k + 1) / static_cast<double>(k + 2) * cosine * cosine;
  }
  return freedom % 2 == 0 ? sine * sum : 2 / std::numbers::pi * (angle + sine * sum);
}

}  // namespace

double NormalQuantile(double confidence) {
  return Solve([](double z) { return std::erf(z / std::numbers::sqrt2); }, confidence, 0, 40);
}

double StudentQuantile(double confidence, int64_t freedom) {
  const double angle = Solve([&](double x) { return StudentWithin(x, freedom); }, confidence, 0, std::numbers::pi / 2);
  return std::sqrt(static_cast<double>(freedom)) * std::tan(angle);
}

MeanInterval MeanWithInterval(const std::vector<double>& values, double confidence) {
  const auto n = static_cast<double>(values.size());
  MeanInterval result;
  for (const double value : values) result.mean += value / n;
  result.low = result.high = result.mean;
  if (values.size() < 2) return result;
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  const auto freedom = static_cast<int64_t>(values.size()) - 1;
  const double half = StudentQuantile(confidence, freedom) * std::sqrt(squares / (n - 1) / n);
  result.low -= half;
  result.high += half;
  return result;
}

MeanInterval MeanOfPercents(const std::vector<double>& values, double confidence) {
  MeanInterval result = MeanWithInterval(values, confidence);
  result.low = std::max(0.0, result.low);
  result.high = std::min(100.0, result.high);
  return result;
}

}  // namespace genview
