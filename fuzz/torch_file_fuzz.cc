#include "fuzz/try.h"
#include "genview/tensor/torch_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  genview::Try([&] {
    const genview::WeightMap weights = genview::ParseTorchFile({reinterpret_cast<const char*>(data), size}, "fuzz");
    for (const auto& [name, tensor] : weights.tensors()) (void)tensor.contiguous().clone();
  });
  return 0;
}
