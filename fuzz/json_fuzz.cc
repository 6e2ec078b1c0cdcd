#include "fuzz/try.h"
#include "genview/base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  genview::Try([&] {
    const genview::Json json = genview::ParseJson({reinterpret_cast<const char*>(data), size}, "fuzz");
    (void)genview::JsonInts(json, "shape", {}, "fuzz");
    (void)genview::JsonString(json, "name", "", "fuzz");
  });
  return 0;
}
