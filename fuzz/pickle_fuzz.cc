#include "genview/base/error.h"
#include "genview/tensor/pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    (void)genview::ParsePickle({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const genview::Error&) {
  }
  return 0;
}
