#include "fuzz/try.h"
#include "genview/tensor/pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  genview::Try([&] { (void)genview::ParsePickle({reinterpret_cast<const char*>(data), size}, "fuzz"); });
  return 0;
}
