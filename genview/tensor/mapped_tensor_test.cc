#include "genview/tensor/mapped_tensor.h"

#include <gtest/gtest.h>

#include "genview/tensor/safetensors.h"
#include "genview/tensor/weights.h"

namespace genview {
namespace {

// Bytes of this process's memory that mapped files take.
int64_t FileBytes() {
  for (const auto& line : ReadLines("/proc/self/status")) {
    if (line.starts_with("RssFile:")) return std::stoll(line.substr(8)) * 1024;
  }
  return -1;
}

TEST(MappedTensor, WhatHasBeenCopiedIsGivenBackAndCanBeReadAgain) {
  const Path path = Path(testing::TempDir()) / "genview-mapped.safetensors";
  const Tensor large = NormalTensor(Seed(1), {1024, 4096});  // 16 MB
  WriteSafetensors(path, {{"a", large}, {"b", large + 1}});
  const WeightMap weights = ReadSafetensors(path);
  const int64_t before = FileBytes();
  WeightReader reader(weights);
  const Tensor a = reader.Take("a", large.sizes());
  const Tensor b = reader.Take("b", large.sizes());
  reader.Finish();
  if (before >= 0) {
    EXPECT_LT(FileBytes() - before, int64_t{8} << 20);
  }
  EXPECT_TRUE(at::equal(a, large));
  EXPECT_TRUE(at::equal(weights.At("b"), large + 1));  // from the file once more
  ReleaseMapped(a);                                    // memory of our own stays
  EXPECT_TRUE(at::equal(a, large));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace genview
