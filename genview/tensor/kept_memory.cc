#include "genview/tensor/kept_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <mutex>

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

namespace genview {
namespace {

constexpr size_t kLarge = size_t{1} << 20, kPage = 4096;

// Addresses as many as there is memory, given out from below. Pages become real when they are written to.
class Range {
 public:
  Range() {
    const size_t size = static_cast<size_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) return;
    ::madvise(data, size, MADV_HUGEPAGE);  // fewer faults, where the system offers it
    free_[static_cast<char*>(data)] = size;
  }

  // Null when there is no room left.
  void* Take(size_t bytes) {
    bytes = (bytes + kPage - 1) / kPage * kPage;
    const std::lock_guard lock(mutex_);
    for (auto place = free_.begin(); place != free_.end(); ++place) {
      const auto [begin, room] = *place;
      if (room < bytes) continue;
      free_.erase(place);
      if (room > bytes) free_[begin + bytes] = room - bytes;
      taken_[begin] = bytes;
      return begin;
    }
    return nullptr;
  }
  // False when the range never gave this address.
  bool Return(void* address) {
    const std::lock_guard lock(mutex_);
    const auto found = taken_.find(static_cast<char*>(address));
    if (found == taken_.end()) return false;
    auto [begin, bytes] = *found;
    taken_.erase(found);
    auto next = free_.upper_bound(begin);
    if (next != free_.end() && begin + bytes == next->first) {
      bytes += next->second;
      next = free_.erase(next);
    }
    if (next != free_.begin()) {
      const auto before = std::prev(next);
      if (before->first + before->second == begin) {
        before->second += bytes;
        return true;
      }
    }
    free_[begin] = bytes;
    return true;
  }
  void GiveUpFreePages() {
    const std::lock_guard lock(mutex_);
    for (const auto& [begin, bytes] : free_) ::madvise(begin, bytes, MADV_DONTNEED);
  }

 private:
  std::mutex mutex_;
  std::map<char*, size_t> free_, taken_;  // bytes by address; no two that are free touch
};

// In the place of LibTorch's allocator from the first KeptMemory on: storages keep a pointer to it.
class KeepingAllocator final : public c10::Allocator {
 public:
  static KeepingAllocator& Installed() {
    static auto* const allocator = new KeepingAllocator;
    return *allocator;
  }

  void Begin() {
    const std::lock_guard lock(mutex_);
    ++users_;
  }
  void End() {
    const std::lock_guard lock(mutex_);
    if (--users_ == 0) range_.GiveUpFreePages();
  }

  c10::DataPtr allocate(size_t bytes) override {
    if (bytes >= kLarge && InUse()) {
      if (void* data = range_.Take(bytes)) return {data, data, Free, c10::DeviceType::CPU};
    }
    return before_->allocate(bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return Free; }  // also of what was allocated before
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }

 private:
  KeepingAllocator() : before_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(this, /*priority=*/1); }
  bool InUse() {
    const std::lock_guard lock(mutex_);
    return users_ > 0;
  }
  static void Free(void* data) {
    KeepingAllocator& allocator = Installed();
    if (!allocator.range_.Return(data)) allocator.before_->raw_deallocate(data);
  }

  c10::Allocator* const before_;
  Range range_;
  std::mutex mutex_;
  int users_ = 0;
};

}  // namespace

KeptMemory::KeptMemory() { KeepingAllocator::Installed().Begin(); }
KeptMemory::~KeptMemory() { KeepingAllocator::Installed().End(); }

}  // namespace genview
