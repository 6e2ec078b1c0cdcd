// Whether the machine has an NVIDIA GPU, apart from whether LibTorch can use it (OpenCuda in device.h), and what to say
// where not.
#pragma once

#include <string>

#include "genview/base/files.h"

namespace genview {

// An NVIDIA GPU with its driver, whether or not this LibTorch can use it. `root` is for tests.
bool HasNvidiaDevice(const Path& root = "/");

// "NVIDIA H100 80GB HBM3", of the GPU that is cuda:INDEX in this process, as the driver has it; "" where it cannot say.
std::string NvidiaDeviceName(int index, const char* driver = "libcuda.so.1");

// What OpenCuda says where the library cannot be opened: with a device there, how to get one that can.
std::string WhyNoCudaLibrary(bool device);

}  // namespace genview
