#include "genview/tensor/nvidia.h"

namespace genview {

bool HasNvidiaDevice(const Path& root) {
  std::error_code code;
  return std::filesystem::exists(root / "dev/nvidia0", code) ||
         std::filesystem::exists(root / "proc/driver/nvidia", code);
}

std::string WhyNoCudaLibrary(bool device) {
  std::string why = "libtorch_cuda.so cannot be opened";
  if (device) {
    why +=
        ", though an NVIDIA device is there: this LibTorch lacks NVIDIA's libraries. Build with a whole PyTorch 2.11 "
        "(`pip install torch==2.11.0`): `make clean && make build TORCH_ROOT=DIR`, DIR being its folder `torch`";
  }
  return why;
}

}  // namespace genview
