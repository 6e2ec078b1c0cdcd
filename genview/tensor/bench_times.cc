#include "genview/tensor/bench_times.h"

#include <algorithm>
#include <chrono>

#include "genview/base/text.h"
#include "genview/tensor/device.h"

namespace genview {

BenchTimes MeasureTimes(const BenchRounds& asked, Progress& progress, const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  const auto seconds_since = [](Clock::time_point time) {
    return std::chrono::duration<double>(Clock::now() - time).count();
  };
  std::vector<double> times;  // ms
  const auto begin = Clock::now();
  const auto more = [&] {
    if (times.empty()) return true;
    return asked.seconds > 0 ? seconds_since(begin) < asked.seconds : static_cast<int64_t>(times.size()) < asked.rounds;
  };
  while (more()) {
    progress.ThrowIfStopped();
    const auto start = Clock::now();
    work();
    times.push_back(1000 * seconds_since(start));
    progress.Update(static_cast<int64_t>(times.size()));
  }
  std::sort(times.begin(), times.end());
  return {.median_ms = times[times.size() / 2],
          .min_ms = times.front(),
          .max_ms = times.back(),
          .rounds = static_cast<int64_t>(times.size())};
}

void BenchFigures::NoteMemory(at::Device on) {
  peak_bytes = PeakMemoryBytes();
  device_peak_bytes = on.is_cpu() ? 0 : PeakMemoryBytes(on);
}

Json BenchFiguresToJson(const BenchFigures& f) {
  Json json = {{"images_per_second", f.images_per_second()},
               {"peak_memory_bytes", f.peak_bytes},
               {"median_ms", f.times.median_ms},
               {"min_ms", f.times.min_ms},
               {"max_ms", f.times.max_ms},
               {"steps", f.times.rounds},
               {"images_per_step", f.images},
               {"gflop_per_step", f.gflop_per_step},
               {"matmul_gflops", f.matmul_gflops},
               {"peak_share", f.peak_share()},
               {"device", f.device},
               {"precision", f.precision}};
  if (f.device_peak_bytes > 0) json["device_peak_bytes"] = f.device_peak_bytes;
  return json;
}

std::string BenchMemoryToText(const BenchFigures& f) {
  const std::string main = Format("{} at most", HumanBytes(f.peak_bytes));
  return f.device_peak_bytes > 0 ? Format("{}, and {} of the GPU's", main, HumanBytes(f.device_peak_bytes)) : main;
}

std::string BenchFiguresToText(const BenchFigures& f, const std::string& unit) {
  return Format("{:.3g} {}/s, {:.0f} ms for {} ({:.0f} to {:.0f}), {:.0f}% of {:.0f} GFLOP/s, {} on {}, {}\n",
                f.images_per_second(), unit, f.times.median_ms, f.images, f.times.min_ms, f.times.max_ms,
                100 * f.peak_share(), f.matmul_gflops, f.precision, f.device, BenchMemoryToText(f));
}

}  // namespace genview
