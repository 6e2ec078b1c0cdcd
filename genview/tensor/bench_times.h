// Times of a piece of work that is done again and again, as benchmarks report them.
//
//   const BenchTimes times = MeasureTimes({.rounds = 3}, progress, [&] { encoder->Encode(pixels, false); });
#pragma once

#include <functional>

#include "genview/base/json.h"
#include "genview/base/progress.h"
#include "genview/tensor/tensor.h"

namespace genview {

struct BenchRounds {
  int64_t rounds = 3;
  double seconds = 0;  // if above 0: about this long instead, and at least one round
};

struct BenchTimes {
  double median_ms = 0, min_ms = 0, max_ms = 0;
  int64_t rounds = 0;
};

// `work` must not return before it is done on its device. Throws Interrupted between two rounds.
BenchTimes MeasureTimes(const BenchRounds& asked, Progress& progress, const std::function<void()>& work);

// The members that all benchmarks of models share: images_per_second, peak_memory_bytes, median_ms, min_ms, max_ms,
// gflop_per_step, matmul_gflops, peak_share, device, precision; of a GPU device_peak_bytes, too.
struct BenchFigures {
  BenchTimes times{};              // of one step
  int64_t images = 0;              // of one step
  double gflop_per_step = 0;       // of convolutions, matrix products and attention
  double matmul_gflops = 0;        // what this machine gives for one large product
  uint64_t peak_bytes = 0;         // of the process, in main memory
  uint64_t device_peak_bytes = 0;  // and in the GPU's; 0: there is none, or it is not known
  std::string device, precision;

  double images_per_second() const { return static_cast<double>(images) * 1000 / times.median_ms; }
  double peak_share() const { return gflop_per_step / (times.median_ms / 1000) / matmul_gflops; }
  void NoteMemory(at::Device device);  // the peaks so far
};
Json BenchFiguresToJson(const BenchFigures& figures);
std::string BenchMemoryToText(const BenchFigures& figures);  // "1.2 GB at most"
std::string BenchFiguresToText(const BenchFigures& figures, const std::string& unit);

}  // namespace genview
