#include "genview/tensor/loading_memory.h"

#include <gtest/gtest.h>

#include <optional>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "genview/tensor/tensor.h"

namespace genview {
namespace {

constexpr int64_t kFloats = int64_t{2} << 18;  // of two megabytes

TEST(LoadingMemory, LargeBlocksArePagesOfTheirOwn) {
#ifdef __GLIBC__
  const auto apart = [] { return ::mallinfo2().hblks; };
  const Tensor huge = at::empty({int64_t{64} << 20});
  if (apart() == 0) GTEST_SKIP() << "another allocator is in the place of glibc's";
  std::optional<LoadingMemory> one(std::in_place), two(std::in_place);
  const size_t before = apart();
  Tensor block = at::empty({kFloats});
  EXPECT_EQ(apart(), before + 1);
  block = Tensor();
  EXPECT_EQ(apart(), before);
  one.reset();
  block = at::empty({kFloats});
  EXPECT_EQ(apart(), before + 1) << "the second is still alive";
  two.reset();
  const Tensor after = at::empty({kFloats});
  EXPECT_EQ(apart(), before + 1) << "from the heap again";
#else
  GTEST_SKIP() << "there is no glibc";
#endif
}

}  // namespace
}  // namespace genview
