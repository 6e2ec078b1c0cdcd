#define USE_C10D_GLOO  // LibTorch has it built in; its header asks whether it is wanted
#include "genview/dist/tensor_group.h"

#include <c10/util/Flags.h>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "genview/base/text.h"

C10_DECLARE_int(caffe2_log_level);

namespace genview {
namespace {

using Clock = std::chrono::steady_clock;
using Gloo = c10d::ProcessGroupGloo;

constexpr std::chrono::seconds kConnectLimit{60};
// Who computes, writes or reads for long is waited for; who is dead is known by the signs of life of group.h.
constexpr std::chrono::hours kWorkLimit{24 * 30};
// That a lost connection, and one that did not come about, wait to hear why.
constexpr std::chrono::seconds kLostLimit{90}, kRefusedLimit{10};
constexpr std::chrono::milliseconds kLook{500};

// Where processes leave the addresses at which they listen: the words of the group.
class WordStore final : public c10d::Store {
 public:
  WordStore(Group& group, std::string prefix) : group_(group), prefix_(std::move(prefix)) {}

  c10::intrusive_ptr<Store> clone() override { return c10::make_intrusive<WordStore>(group_, prefix_); }
  void set(const std::string& key, const std::vector<uint8_t>& value) override {
    group_.Post(prefix_ + key, {value.begin(), value.end()});
  }
  std::vector<uint8_t> get(const std::string& key) override {
    const std::string text = group_.Find(prefix_ + key);
    return {text.begin(), text.end()};
  }
  void wait(const std::vector<std::string>& keys) override {
    for (const std::string& key : keys) group_.Find(prefix_ + key);
  }
  void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds&) override { wait(keys); }
  // Connecting needs none of these.
  int64_t add(const std::string&, int64_t) override { throw std::logic_error("a store of addresses does not count"); }
  bool deleteKey(const std::string&) override { throw std::logic_error("a store of addresses does not delete"); }
  bool check(const std::vector<std::string>&) override { throw std::logic_error("a store of addresses does not look"); }
  int64_t getNumKeys() override { throw std::logic_error("a store of addresses does not count"); }

 private:
  Group& group_;
  std::string prefix_;
};

// While alive, LibTorch prints nothing of what it throws as well.
class QuietLog {
 public:
  QuietLog() : level_(FLAGS_caffe2_log_level) { FLAGS_caffe2_log_level = 3; }  // fatal errors alone
  ~QuietLog() { FLAGS_caffe2_log_level = level_; }
  QuietLog(const QuietLog&) = delete;
  QuietLog& operator=(const QuietLog&) = delete;

 private:
  int level_;
};

class GlooTensors final : public TensorGroup {
 public:
  explicit GlooTensors(Group& group);
  // A connection that is waiting for a dead process cannot be closed: it is left to the end of this process.
  ~GlooTensors() override {
    if (broken_) (void)gloo_.release();
  }

  int64_t rank() const override { return group_.rank(); }
  int64_t size() const override { return group_.size(); }

  Tensor Gather(const Tensor& mine) override {
    Tensor input = mine.contiguous(), output = at::empty({size() * input.numel()}, input.options());
    input = input.view(-1);
    Await([&] { return gloo_->_allgather_base(output, input); });
    std::vector<int64_t> shape{size()};
    shape.insert(shape.end(), mine.sizes().begin(), mine.sizes().end());
    return output.view(shape);
  }

  Tensor Exchange(const Tensor& for_each) override {
    GENVIEW_CHECK(for_each.size(0) == size(), "a row for each process");
    Tensor input = for_each.contiguous(), output = at::empty_like(input);
    std::vector<int64_t> even;  // as many rows from and to each
    Await([&] { return gloo_->alltoall_base(output, input, even, even); });
    return output;
  }

 private:
  template <class Start>
  void Await(Start&& start);
  [[noreturn]] void GiveUp(std::string reason);

  Group& group_;
  c10::intrusive_ptr<Gloo> gloo_;
  bool broken_ = false;
};

GlooTensors::GlooTensors(Group& group) : group_(group) {
  // A job connects for each of its stages anew.
  const std::string number = group.Broadcast(Format("tensors {} ", Clock::now().time_since_epoch().count()));
  const QuietLog quiet;
  try {
    auto options =
        group.on_one_machine() ? Gloo::Options::create(kConnectLimit) : Gloo::Options::create_default(kConnectLimit);
    if (options->devices.empty()) options->devices.push_back(Gloo::createDeviceForHostname("127.0.0.1"));
    options->threads = static_cast<int>(options->devices.size());
    gloo_ = c10::make_intrusive<Gloo>(c10::make_intrusive<WordStore>(group, number), static_cast<int>(rank()),
                                      static_cast<int>(size()), options);
    gloo_->setTimeout(kWorkLimit);
  } catch (const Error&) {
    throw;
  } catch (const Interrupted&) {
    throw;
  } catch (const c10::Error& error) {
    GiveUp(error.what_without_backtrace());
  } catch (const std::exception& error) {
    GiveUp(error.what());
  }
}

template <class Start>
void GlooTensors::Await(Start&& start) {
  struct Done {
    std::mutex mutex;
    std::condition_variable wake;
    bool yes = false;
  };
  const auto done = std::make_shared<Done>();
  c10::intrusive_ptr<c10::ivalue::Future> future;
  try {
    future = start()->getFuture();
  } catch (const c10::Error& error) {
    GiveUp(error.what_without_backtrace());
  }
  future->addCallback([done](c10::ivalue::Future&) {
    {
      const std::lock_guard lock(done->mutex);
      done->yes = true;
    }
    done->wake.notify_all();
  });
  std::unique_lock lock(done->mutex);
  while (!done->wake.wait_for(lock, kLook, [&] { return done->yes; })) {
    lock.unlock();
    try {
      group_.Check();
    } catch (...) {
      broken_ = true;
      throw;
    }
    lock.lock();
  }
  if (future->hasError()) GiveUp(future->tryRetrieveErrorMessage());
}

void GlooTensors::GiveUp(std::string reason) {
  broken_ = true;
  // Who has gone says why, or is missed.
  const auto limit = gloo_ ? kLostLimit : kRefusedLimit;
  for (const auto start = Clock::now(); Clock::now() - start < limit;
       std::this_thread::sleep_for(std::chrono::milliseconds(50)))
    group_.Check();
  if (const size_t place = reason.find("] "); reason.starts_with('[') && place != std::string::npos)
    reason.erase(0, place + 2);  // where in gloo
  throw Error({.what = Format("the processes do not reach each other: {}", reason.substr(0, reason.find('\n'))),
               .where = Format("process {} of {}", rank(), size()),
               .next = "set GLOO_SOCKET_IFNAME to the network interface that joins the machines (`ip addr` lists "
                       "them), for example eth0"});
}

}  // namespace

bool CanConnectTensors() { return true; }

std::unique_ptr<TensorGroup> ConnectTensors(Group& group) {
  if (group.size() == 1) return std::make_unique<TensorGroup>();
  return std::make_unique<GlooTensors>(group);
}

}  // namespace genview
