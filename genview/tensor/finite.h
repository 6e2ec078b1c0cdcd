// Whether all numbers of a tensor are numbers, found in one pass over its memory on all threads, alone or on the way
// into another tensor: weights of gigabytes are looked at while they are in the cache.
#pragma once

#include "genview/tensor/tensor.h"

namespace genview {

// False if a value of `x`, of any floating type on the CPU, is NaN or infinite.
bool AllFinite(const Tensor& x);
// to <- from, of the same shape and any floating types and orders in memory; returns AllFinite(from).
bool CopyFinite(const Tensor& to, const Tensor& from);

}  // namespace genview
