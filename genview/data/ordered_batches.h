// Threads that fill batches item by item and hand them over in order: what comes out does not depend on how many
// threads there are or which was faster.
//
//   OrderedBatches<Batch> work({.end = 1000, .batch = 64, .threads = 4},
//                              [](int64_t number, int64_t count) { return Batch(count); },
//                              [](Batch& batch, int64_t slot, int64_t position) { batch[slot] = Make(position); });
//   for (Batch batch; work.Next(batch);) Use(batch);
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

namespace genview {

// `threads` where 0 means as many as the machine has.
inline int64_t ResolveThreads(int64_t threads) {
  return threads > 0 ? threads : std::max<int64_t>(1, std::thread::hardware_concurrency());
}

struct OrderedPlan {
  int64_t begin = 0, end = 0;  // positions; begin is a multiple of batch
  int64_t batch = 1;           // positions per batch; the last may have fewer
  int64_t threads = 1;         // at least one
  int64_t ahead = 3;           // batches begun and not yet taken, at most
  int64_t grain = 1;           // positions that a thread takes at a time
};

// Exceptions from `make` and `fill` are thrown by Next, in the place of their batch. The destructor stops the threads
// after the item each is at, and joins them.
template <class Batch>
class OrderedBatches {
 public:
  using Make = std::function<Batch(int64_t number, int64_t count)>;                // never runs twice at once
  using Fill = std::function<void(Batch& batch, int64_t slot, int64_t position)>;  // from several threads at once

  OrderedBatches(OrderedPlan plan, Make make, Fill fill)
      : plan_(plan),
        make_(std::move(make)),
        fill_(std::move(fill)),
        next_(plan.begin),
        first_(plan.begin / plan.batch) {
    for (int64_t i = 0; i < plan_.threads; ++i) {
      threads_.emplace_back([this](std::stop_token stop) { Work(stop); });
    }
  }

  ~OrderedBatches() {
    for (auto& thread : threads_) thread.request_stop();
    threads_.clear();  // joins
  }
  OrderedBatches(const OrderedBatches&) = delete;
  OrderedBatches& operator=(const OrderedBatches&) = delete;

  // The next batch; false after the last one.
  bool Next(Batch& out) {
    std::unique_lock lock(mutex_);
    if (first_ * plan_.batch >= plan_.end) return false;
    const auto begin = std::chrono::steady_clock::now();
    ready_.wait(lock, [&] { return !open_.empty() && open_.front()->missing == 0; });
    waited_ += std::chrono::steady_clock::now() - begin;
    const std::unique_ptr<Begun> done = std::move(open_.front());
    open_.pop_front();
    ++first_;
    lock.unlock();
    room_.notify_all();
    if (done->error) std::rethrow_exception(done->error);
    out = std::move(*done->batch);
    return true;
  }

  // Share of the time since the start that Next has spent waiting, [0, 1].
  double WaitShare() const {
    const std::lock_guard lock(mutex_);
    const auto all = std::chrono::steady_clock::now() - started_;
    return all.count() > 0 ? static_cast<double>(waited_.count()) / static_cast<double>(all.count()) : 0;
  }

 private:
  struct Begun {
    std::optional<Batch> batch;
    int64_t missing = 0;       // positions not yet filled
    std::exception_ptr error;  // of the first bad position
    int64_t error_at = INT64_MAX;
  };
  struct Share {  // positions of one batch that a thread has taken
    Begun* begun;
    int64_t from, to;
  };

  int64_t CountOf(int64_t number) const { return std::min(plan_.batch, plan_.end - number * plan_.batch); }

  bool HasRoom() const { return next_ >= plan_.end || next_ / plan_.batch < first_ + plan_.ahead; }

  Share Take() {  // under the lock; next_ < end
    const int64_t number = next_ / plan_.batch;
    if (number - first_ == static_cast<int64_t>(open_.size())) {
      auto begun = std::make_unique<Begun>();
      begun->missing = CountOf(number);
      try {
        begun->batch = make_(number, begun->missing);
      } catch (...) {
        begun->error = std::current_exception();
        begun->error_at = -1;
      }
      open_.push_back(std::move(begun));
    }
    Share share{open_.back().get(), next_, std::min(next_ + plan_.grain, number * plan_.batch + CountOf(number))};
    next_ = share.to;
    return share;
  }

  void Run(const Share& share, std::unique_lock<std::mutex>& lock) {
    std::exception_ptr error;
    int64_t error_at = INT64_MAX;
    const bool made = share.begun->batch.has_value();
    lock.unlock();
    for (int64_t position = share.from; made && position < share.to && !error; ++position) {
      try {
        fill_(*share.begun->batch, position % plan_.batch, position);
      } catch (...) {
        error = std::current_exception();
        error_at = position;
      }
    }
    lock.lock();
    if (error_at < share.begun->error_at) {
      share.begun->error = error;
      share.begun->error_at = error_at;
    }
    share.begun->missing -= share.to - share.from;
    if (share.begun->missing == 0) ready_.notify_one();
  }

  void Work(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (true) {
      if (!room_.wait(lock, stop, [&] { return HasRoom(); })) return;
      if (stop.stop_requested() || next_ >= plan_.end) return;
      Run(Take(), lock);
    }
  }

  const OrderedPlan plan_;
  const Make make_;
  const Fill fill_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();

  mutable std::mutex mutex_;
  std::condition_variable_any room_;  // for threads: a batch may be begun
  std::condition_variable ready_;     // for Next: the front batch may be full
  int64_t next_;                      // position to be taken next
  int64_t first_;                     // number of the batch at the front of open_
  std::deque<std::unique_ptr<Begun>> open_;
  std::chrono::steady_clock::duration waited_{};
  std::vector<std::jthread> threads_;
};

}  // namespace genview
