#include <algorithm>
#include <cstring>

#include "fuzz/try.h"
#include "genview/data/tar_index.h"

// Every member that the index names lies within the file.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const genview::ReadAt read = [&](uint64_t at, char* out, size_t wanted) {
    const size_t count = at >= size ? 0 : std::min<size_t>(wanted, size - at);
    if (count > 0) std::memcpy(out, data + at, count);
    return count;
  };
  genview::Try([&] {
    for (const genview::TarMember& member : genview::IndexTar(read, size, "fuzz")) {
      if (member.offset > size || member.size > size - member.offset) __builtin_trap();
    }
  });
  return 0;
}
