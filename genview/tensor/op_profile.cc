#include "genview/tensor/op_profile.h"

#include <ATen/record_function.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>

#include "genview/base/text.h"

namespace genview {
namespace {

using Clock = std::chrono::steady_clock;

// The callbacks of LibTorch carry no state of ours.
std::mutex mutex;
std::map<std::string, OpTime, std::less<>> times;

struct Call : at::ObserverContext {
  Clock::time_point begin = Clock::now();
  Call* outer = nullptr;
  double within = 0;  // seconds of the operators that this one calls
};
thread_local Call* current = nullptr;

std::unique_ptr<at::ObserverContext> Begin(const at::RecordFunction&) {
  auto call = std::make_unique<Call>();
  call->outer = std::exchange(current, call.get());
  return call;
}

void End(const at::RecordFunction& function, at::ObserverContext* context) {
  auto* call = static_cast<Call*>(context);
  const double seconds = std::chrono::duration<double>(Clock::now() - call->begin).count();
  current = call->outer;
  if (current != nullptr) current->within += seconds;
  const std::lock_guard lock(mutex);
  const std::string_view name = function.name();
  auto found = times.find(name);
  if (found == times.end()) found = times.emplace(name, OpTime{.name = std::string(name)}).first;
  ++found->second.calls;
  found->second.seconds += seconds - call->within;
}

}  // namespace

OpProfile::OpProfile() {
  {
    const std::lock_guard lock(mutex);
    times.clear();
  }
  handle_ = at::addGlobalCallback(
      at::RecordFunctionCallback(Begin, End).scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
}

OpProfile::~OpProfile() { at::removeCallback(handle_); }

std::vector<OpTime> OpProfile::Times() const {
  const std::lock_guard lock(mutex);
  std::vector<OpTime> list;
  for (const auto& [name, time] : times) list.push_back(time);
  std::sort(list.begin(), list.end(), [](const OpTime& a, const OpTime& b) { return a.seconds > b.seconds; });
  return list;
}

std::string OpProfileToText(const std::vector<OpTime>& times, size_t most) {
  double all = 0;
  for (const OpTime& time : times) all += time.seconds;
  std::string text = Format("{:>7} {:>8} {:>10}  {}\n", "share", "calls", "us a call", "operator");
  for (size_t i = 0; i < std::min(most, times.size()); ++i) {
    const OpTime& time = times[i];
    text += Format("{:>6.1f}% {:>8} {:>10.1f}  {}\n", 100 * time.seconds / all, time.calls,
                   1e6 * time.seconds / static_cast<double>(time.calls), time.name);
  }
  return text;
}

Json OpProfileToJson(const std::vector<OpTime>& times) {
  Json list = Json::array();
  for (const OpTime& time : times)
    list.push_back({{"operator", time.name}, {"calls", time.calls}, {"seconds", time.seconds}});
  return list;
}

}  // namespace genview
