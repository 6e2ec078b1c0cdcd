// Tables between stages: a foreground table, an original list and a view manifest, each an Error or rows that mean
// something; those of a manifest can be written and read again.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "fuzz/try.h"
#include "genview/base/text.h"
#include "genview/records/records.h"

namespace {

// The bytes as a file that lives in memory.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes) : descriptor_(::memfd_create("table", 0)) {
    if (::write(descriptor_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) std::abort();
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  genview::Path path() const { return genview::Format("/proc/self/fd/{}", descriptor_); }

 private:
  int descriptor_;
};

void ReadTable(const MemoryFile& file) {
  genview::Try([&] {
    for (const genview::ForegroundRow& row : genview::ReadForegroundTable(file.path())) {
      if (row.id.empty() || !(row.ratio >= 0 && row.ratio <= 1) || row.noise_level < 0) std::abort();
      (void)genview::NoiseLevelFor(row.ratio, {0, 100, 200, 300, 400});
    }
  });
}

void ReadViews(const MemoryFile& file) {
  genview::Try([&] {
    std::string text;
    const auto rows = genview::ReadViewTable(file.path());
    for (const genview::ViewRow& row : rows) text += genview::ViewRowToJson(row).dump() + "\n";
    if (genview::ReadViewTable(MemoryFile(text).path()).size() != rows.size()) std::abort();
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const MemoryFile file({reinterpret_cast<const char*>(data), size});
  ReadTable(file);
  ReadViews(file);
  return 0;
}
