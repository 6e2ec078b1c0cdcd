#include "genview/tensor/nvidia.h"

#include <dlfcn.h>

#include <array>

namespace genview {

bool HasNvidiaDevice(const Path& root) {
  std::error_code code;
  return std::filesystem::exists(root / "dev/nvidia0", code) ||
         std::filesystem::exists(root / "proc/driver/nvidia", code);
}

std::string NvidiaDeviceName(int index, const char* driver) {
  void* library = ::dlopen(driver, RTLD_LAZY);  // stays open, as it is where CUDA is used
  if (library == nullptr) return "";
  const auto init = reinterpret_cast<int (*)(unsigned)>(::dlsym(library, "cuInit"));
  const auto get = reinterpret_cast<int (*)(int*, int)>(::dlsym(library, "cuDeviceGet"));
  const auto name_of = reinterpret_cast<int (*)(char*, int, int)>(::dlsym(library, "cuDeviceGetName"));
  if (init == nullptr || get == nullptr || name_of == nullptr) return "";
  int device = 0;
  std::array<char, 256> name{};
  if (init(0) != 0 || get(&device, index) != 0 || name_of(name.data(), static_cast<int>(name.size()) - 1, device) != 0)
    return "";
  return name.data();
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
