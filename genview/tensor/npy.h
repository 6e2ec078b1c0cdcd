// NumPy's .npy files (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), versions 1 to 3: one
// array of plain numbers. Object arrays, which hold pickles, are refused; nothing in a file is executed.
//
//   Tensor component = ReadNpy("pca_vectors.npy");
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "genview/base/files.h"
#include "genview/tensor/tensor.h"

namespace genview {

struct NpyHeader {
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
  bool fortran_order = false;
  uint64_t data_begin = 0;  // bytes from the start of the file
};

// Parses the header of a whole file's bytes and checks the length of the data against it. Throws Error for: wrong
// magic, unknown version, header longer than the file or 64 kB, anything but the dictionary of `descr`, `fortran_order`
// and `shape`, big-endian or unknown types, negative or overflowing shapes, too little or too much data.
NpyHeader ParseNpyHeader(std::string_view file, const std::string& where);

Tensor ParseNpy(std::string_view file, const std::string& where);  // an owned, contiguous tensor
Tensor ReadNpy(const Path& path);

}  // namespace genview
