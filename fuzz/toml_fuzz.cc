#include "genview/base/error.h"
#include "genview/base/toml.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto document = genview::ParseToml({reinterpret_cast<const char*>(data), size}, "fuzz");
    (void)genview::ToToml(document.values);
  } catch (const genview::Error&) {
  }
  return 0;
}
