#include "genview/tensor/mapped_tensor.h"

#include <sys/mman.h>
#include <unistd.h>

namespace genview {
namespace {

void Keep(void*) {}  // the map's owner frees it; as the deleter it also marks a mapped tensor

// Whole pages of this tensor alone: its neighbours may be at another stage.
void Advise(const Tensor& tensor, int advice) {
  if (!tensor.has_storage() || tensor.storage().data_ptr().get_deleter() != &Keep) return;
  static const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(tensor.storage().data());
  const uintptr_t first = (begin + page - 1) / page * page, last = (begin + tensor.storage().nbytes()) / page * page;
  if (last > first) (void)::madvise(reinterpret_cast<void*>(first), last - first, advice);
}

}  // namespace

Tensor MappedTensor(const void* data, at::IntArrayRef shape, at::ScalarType type) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  void* memory = const_cast<void*>(data);  // read-only pages: writing ends the program, so nobody may
  const auto bytes = static_cast<size_t>(count) * at::elementSize(type);
  auto storage = c10::make_intrusive<at::StorageImpl>(
      at::StorageImpl::use_byte_size_t(), bytes, at::DataPtr(memory, memory, &Keep, at::kCPU), /*allocator=*/nullptr,
      /*resizable=*/false);
  Tensor tensor = at::empty({0}, at::TensorOptions().dtype(type));
  return tensor.set_(at::Storage(std::move(storage))).view(shape);
}

void PrefetchMapped(const Tensor& tensor) { Advise(tensor, MADV_WILLNEED); }
void ReleaseMapped(const Tensor& tensor) { Advise(tensor, MADV_DONTNEED); }

}  // namespace genview
