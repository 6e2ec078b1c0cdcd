// A device that holds the program to a GPU's rules on a machine without one. It is LibTorch's backend PrivateUse1; its
// memory is the processor's, but at addresses where any access from outside of an operator is a segmentation fault:
//
//   PretendDevice();                                    // {PrivateUse1, 0}; a sanitizer or gdb shows who looked
//   const Tensor y = x.to(PretendDevice());             // and every operator on y, as on CUDA
//
// An operator on it runs as the CPU's, on aliases of its memory, after the check that CUDA's makes: tensors of several
// devices in one operator are refused, but for numbers and indices where CUDA takes them from the CPU. New memory is
// full of NaN. Autocast casts by CUDA's lists. What it cannot show: an operator that CUDA lacks or computes otherwise,
// streams, the memory running out.
#pragma once

#include "genview/tensor/tensor.h"

namespace genview {

at::Device PretendDevice();

}  // namespace genview
