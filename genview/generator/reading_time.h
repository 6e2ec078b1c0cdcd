// What part of its time a stage spends on reading pictures, for the progress.
//
//   ReadingTime reading;
//   const Tensor batch = reading.Of([&] { return pictures.Batch(first, count); });
//   progress.Update(done, reading.Share());
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace genview {

class ReadingTime {
 public:
  // What `read` returns, and the time it takes counts. Thread-safe.
  template <class Read>
  auto Of(Read&& read) {
    const auto begin = Clock::now();
    auto result = read();
    spent_ += (Clock::now() - begin).count();
    return result;
  }
  // Of the time since the beginning, where so many threads read at once; in [0, 1].
  double Share(int64_t threads = 1) const {
    const auto all = static_cast<double>((Clock::now() - began_).count()) * static_cast<double>(threads);
    return all > 0 ? std::min(1.0, static_cast<double>(spent_.load()) / all) : 0;
  }

 private:
  using Clock = std::chrono::steady_clock;
  const Clock::time_point began_ = Clock::now();
  std::atomic<Clock::rep> spent_{0};
};

}  // namespace genview
