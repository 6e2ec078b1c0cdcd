// Tensors that lie in a mapped file: reading them costs nothing until they are touched, and what has been copied out of
// them can be given back, so that loading a model takes the memory of one copy and not of two.
#pragma once

#include "genview/tensor/tensor.h"

namespace genview {

// `data` lies in a read-only map of a file that outlives the tensor, and is aligned for `type`.
Tensor MappedTensor(const void* data, at::IntArrayRef shape, at::ScalarType type);
// All of it will be read soon: a file that is not in memory is read ahead in one piece.
void PrefetchMapped(const Tensor& tensor);
// The system may take the memory back; a later read gets the bytes from the file again. Other tensors are left alone.
void ReleaseMapped(const Tensor& tensor);

}  // namespace genview
