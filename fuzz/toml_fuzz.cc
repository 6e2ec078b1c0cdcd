#include "fuzz/try.h"
#include "genview/base/toml.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  genview::Try([&] {
    const auto document = genview::ParseToml({reinterpret_cast<const char*>(data), size}, "fuzz");
    (void)genview::ToToml(document.values);
  });
  return 0;
}
