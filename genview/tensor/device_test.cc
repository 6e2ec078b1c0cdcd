#include "genview/tensor/device.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <new>
#include <stdexcept>
#include <vector>

#include "genview/tensor/nvidia.h"
#include "tests/temporary_folder.h"

namespace genview {
namespace {

TEST(CpuFeatures, AreReadOffTheProcessor) {
  const CpuFeatures features = ReadCpuFeatures();
  EXPECT_GE(features.cores, 1);
  EXPECT_FALSE(features.model.empty());
  const auto has = [&](const char* name) {
    return std::find(features.extensions.begin(), features.extensions.end(), name) != features.extensions.end();
  };
  EXPECT_EQ(features.native_bf16, has("avx512_bf16") || has("amx_bf16"));
  __builtin_cpu_init();
  EXPECT_EQ(has("avx2"), __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(has("fma"), __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(has("avx512f"), __builtin_cpu_supports("avx512f") != 0);
}

TEST(Device, PrecisionIsNamedAsTheOptionNamesIt) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16})
    EXPECT_EQ(PrecisionName(ChooseCompute(precision, at::kCPU)), EnumName(precision));
  EXPECT_EQ(PrecisionName(at::kHalf), "fp16");
}

TEST(Device, AnotherCanStandForTheGpu) {
  const at::Device other(at::kMeta);
  {
    const InsteadOfCuda instead(other);
    EXPECT_EQ(ChooseDevice(DeviceChoice::kCuda), other);
    EXPECT_EQ(ChooseDevice(DeviceChoice::kAuto), other);
    EXPECT_EQ(ChooseDevice(DeviceChoice::kCpu), at::Device(at::kCPU));
    EXPECT_EQ(ChooseCompute(Precision::kAuto, other), at::kBFloat16);
    EXPECT_EQ(ChooseCompute(Precision::kFp16, other), at::kHalf);
  }
  EXPECT_NE(ChooseDevice(DeviceChoice::kAuto), other);
}

TEST(Device, WhereAnNvidiaDeviceIsTheMissingLibraryIsSaid) {
  const TemporaryFolder place;
  const Path& root = place.path();
  std::filesystem::create_directories(root / "dev");
  EXPECT_FALSE(HasNvidiaDevice(root));
  std::filesystem::create_directories(root / "proc/driver/nvidia");
  EXPECT_TRUE(HasNvidiaDevice(root));
  EXPECT_NE(WhyNoCudaLibrary(true).find("TORCH_ROOT"), std::string::npos);
  EXPECT_EQ(WhyNoCudaLibrary(false), "libtorch_cuda.so cannot be opened");
}

TEST(Device, WithoutADriverNoNameIsKnown) {
  EXPECT_EQ(NvidiaDeviceName(0, "libgenview-no-driver.so.1"), "");
  EXPECT_EQ(NvidiaDeviceName(0, "libm.so.6"), "");  // a library, but of other functions
}

TEST(Device, MemoryThatIsLackingIsToldFromOtherErrors) {
  const auto is_memory = [](auto&& work) {
    try {
      work();
    } catch (const std::exception& error) {
      return IsOutOfMemory(error);
    }
    return false;
  };
  EXPECT_TRUE(is_memory([] { throw std::bad_alloc(); }));
  EXPECT_TRUE(is_memory([] { (void)at::empty({int64_t{1} << 52}, at::kFloat); }));
  EXPECT_TRUE(is_memory([] { TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory."); }));
  EXPECT_FALSE(is_memory([] { (void)at::ones({2, 3}).matmul(at::ones({2, 3})); }));
  EXPECT_FALSE(is_memory([] { throw std::runtime_error("no space left"); }));
}

TEST(Device, ImitatedArithmeticIsWarnedOf) {
  CpuFeatures cpu;
  cpu.native_bf16 = false;
  EXPECT_NE(SlowPrecision(at::kBFloat16, at::kCPU, cpu).find("--precision fp32"), std::string::npos);
  EXPECT_EQ(SlowPrecision(at::kFloat, at::kCPU, cpu), "");
  EXPECT_EQ(SlowPrecision(at::kBFloat16, at::kCUDA, cpu), "");
  cpu.native_bf16 = true;
  EXPECT_EQ(SlowPrecision(at::kBFloat16, at::kCPU, cpu), "");
}

TEST(Device, SaysHowMuchMemoryIsFree) {
  EXPECT_GT(FreeMemoryBytes(), uint64_t{1} << 20);
  ReturnFreedMemory();
}

TEST(Device, PeakMemoryIsThatSinceTheLastReset) {
  const auto touch = [] { return std::vector<char>(size_t{256} << 20, 1).size(); };
  touch();
  const uint64_t before = PeakMemoryBytes();
  EXPECT_GT(before, uint64_t{256} << 20);
  ResetPeakMemory();
  if (PeakMemoryBytes() >= before) GTEST_SKIP() << "the kernel does not let a process reset its peak";
  touch();
  EXPECT_GT(PeakMemoryBytes(), uint64_t{256} << 20);
}

}  // namespace
}  // namespace genview
