// Whether the machine has an NVIDIA GPU, apart from whether LibTorch can use it (OpenCuda in device.h), and what to say
// where not.
#pragma once

#include <string>

#include "genview/base/files.h"

namespace genview {

// An NVIDIA GPU with its driver, whether or not this LibTorch can use it. `root` is for tests.
bool HasNvidiaDevice(const Path& root = "/");

// What OpenCuda says where the library cannot be opened: with a device there, how to get one that can.
std::string WhyNoCudaLibrary(bool device);

}  // namespace genview
