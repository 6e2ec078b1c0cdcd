// Work that another thread does while the caller prepares the next piece: one piece at a time, in the order given.
//
//   OneBehind writer;
//   for (...) {
//     Made made = Make();                                   // while the piece before is written
//     writer.Do([made = std::move(made)] { Write(made); });
//   }
//   writer.Finish();
#pragma once

#include <functional>
#include <future>

namespace genview {

// The destructor waits for the piece at work and forgets what it throws.
class OneBehind {
 public:
  // Begins `work` when the piece before has ended. Throws what that one threw; `work` is then not begun.
  void Do(std::function<void()> work) {
    Finish();
    running_ = std::async(std::launch::async, std::move(work));
  }
  // Waits for the piece at work, and throws what it threw. Then there is none.
  void Finish() {
    if (running_.valid()) running_.get();
  }

 private:
  std::future<void> running_;  // of std::async, whose destructor waits
};

}  // namespace genview
