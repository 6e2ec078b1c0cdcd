#include "genview/tensor/loading_memory.h"

#include <mutex>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace genview {
namespace {

std::mutex g_mutex;
int g_alive = 0;

void TakeApartFrom([[maybe_unused]] int bytes) {
#if defined(__GLIBC__)
  ::mallopt(M_MMAP_THRESHOLD, bytes);
  ::mallopt(M_TRIM_THRESHOLD, 2 * bytes);
#endif
}

}  // namespace

LoadingMemory::LoadingMemory() {
  const std::lock_guard lock(g_mutex);
  if (g_alive++ == 0) TakeApartFrom(1 << 20);
}

LoadingMemory::~LoadingMemory() {
  const std::lock_guard lock(g_mutex);
  if (--g_alive == 0) TakeApartFrom(32 << 20);  // what glibc comes to by itself, at most
}

}  // namespace genview
