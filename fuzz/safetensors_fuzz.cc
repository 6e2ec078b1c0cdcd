#include "fuzz/try.h"
#include "genview/tensor/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  genview::Try([&] { (void)genview::ParseSafetensorsHeader({reinterpret_cast<const char*>(data), size}, "fuzz"); });
  return 0;
}
