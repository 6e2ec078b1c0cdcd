#include "genview/tensor/device.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/Exception.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <new>
#include <optional>
#include <stdexcept>
#include <string_view>

#include "genview/base/error.h"
#include "genview/base/files.h"
#include "genview/base/text.h"
#include "genview/tensor/nvidia.h"

namespace genview {

CpuFeatures ReadCpuFeatures() {
  CpuFeatures features;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) features.cores = CPU_COUNT(&set);
  std::string flags;
  std::ifstream cpuinfo("/proc/cpuinfo");  // its size reads as 0, so it cannot be mapped
  for (std::string line; std::getline(cpuinfo, line);) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    const auto key = Trim(std::string_view(line).substr(0, colon));
    const auto value = Trim(std::string_view(line).substr(colon + 1));
    if (key == "model name" && features.model.empty()) features.model = value;
    if (key == "flags" && flags.empty()) flags = Format(" {} ", value);
  }
  for (const char* name :
       {"avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "avx512_fp16"}) {
    if (flags.find(Format(" {} ", name)) != std::string::npos) features.extensions.emplace_back(name);
  }
  for (const auto& name : features.extensions) {
    features.native_bf16 |= name == "avx512_bf16" || name == "amx_bf16";
    features.amx_bf16 |= name == "amx_bf16";
  }
  return features;
}

// The same bytes from the same seed: no sum in the order in which threads happen to come. Operators that have no other
// are named in a warning.
static void ComputeRepeatably() {
  ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);  // cuBLAS reads it when it is first used
  at::globalContext().setDeterministicCuDNN(true);
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true);
  at::globalContext().setDeterministicFillUninitializedMemory(false);  // which takes time, and nobody reads it
}

bool HasCudaLibrary() {
  void* library = dlopen("libtorch_cpu.so", RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return false;
  char folder[PATH_MAX] = "";
  const bool known = dlinfo(library, RTLD_DI_ORIGIN, folder) == 0;
  dlclose(library);
  std::error_code code;
  return known && std::filesystem::exists(Path(folder) / "libtorch_cuda.so", code);
}

bool OpenCuda(std::string* reason) {
  static std::string failure = [] {
    if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) return WhyNoCudaLibrary(HasNvidiaDevice());
    if (!at::hasCUDA()) return std::string("no NVIDIA GPU answers");
    ComputeRepeatably();
    return std::string();
  }();
  if (reason != nullptr) *reason = failure;
  return failure.empty();
}

static std::optional<at::Device> instead_of_cuda;

InsteadOfCuda::InsteadOfCuda(at::Device device) { instead_of_cuda = device; }
InsteadOfCuda::~InsteadOfCuda() { instead_of_cuda.reset(); }

std::vector<at::Device> Gpus(std::string* reason) {
  if (instead_of_cuda) return {*instead_of_cuda};
  std::vector<at::Device> gpus;
  if (!OpenCuda(reason)) return gpus;
  for (size_t i = 0; i < at::getNumGPUs(); ++i) gpus.emplace_back(at::kCUDA, static_cast<c10::DeviceIndex>(i));
  return gpus;
}

at::Device ChooseDevice(DeviceChoice choice) {
  if (choice == DeviceChoice::kCpu) return at::kCPU;
  if (instead_of_cuda) return *instead_of_cuda;
  // Without a driver there is no GPU, and the 2 GB library need not be opened to learn it. Its device files may be made
  // by the first program that uses it.
  const bool driver =
      HasNvidiaDevice() || std::filesystem::exists("/dev/nvidiactl") || std::filesystem::exists("/dev/dxg");
  std::string reason = "no NVIDIA driver";
  if ((driver || choice == DeviceChoice::kCuda) && OpenCuda(&reason)) return at::Device(at::kCUDA, 0);
  if (choice == DeviceChoice::kCuda) {
    throw UsageError({.what = Format("no CUDA device: {}", reason),
                      .where = "--device cuda",
                      .next = "use --device cpu, or see what `genview doctor` says"});
  }
  return at::kCPU;
}

bool GpuMultipliesBf16(at::Device device) {
  return !device.is_cuda() || at::detail::getCUDAHooks().supportsBFloat16ConvolutionWithCuDNNv8();
}

at::ScalarType ChooseCompute(Precision precision, at::Device device) {
  switch (precision) {
    case Precision::kFp32:
      return at::kFloat;
    case Precision::kBf16:
      return at::kBFloat16;
    case Precision::kFp16:
      if (!device.is_cpu()) return at::kHalf;
      throw UsageError(
          {.what = "fp16 arithmetic needs a GPU", .where = "--precision fp16", .next = "use --precision auto"});
    case Precision::kAuto:
      break;
  }
  if (!device.is_cpu()) return GpuMultipliesBf16(device) ? at::kBFloat16 : at::kFloat;
  // AVX512-BF16 alone speeds up large products, but the backward pass of convolutions with few channels then takes slow
  // code (a step of a quarter-width ResNet-18 took 5 times as long as in fp32). With AMX bf16 wins throughout.
  static const bool amx = ReadCpuFeatures().amx_bf16;
  return amx ? at::kBFloat16 : at::kFloat;
}

std::string SlowPrecision(at::ScalarType compute, at::Device device, const CpuFeatures& cpu) {
  if (compute != at::kBFloat16 || !device.is_cpu() || cpu.native_bf16) return "";
  return "this processor does not multiply bf16 itself: steps can take hundreds of times as long as with --precision "
         "fp32";
}

std::string PrecisionName(at::ScalarType compute) {
  switch (compute) {
    case at::kFloat:
      return EnumName(Precision::kFp32);
    case at::kBFloat16:
      return EnumName(Precision::kBf16);
    case at::kHalf:
      return EnumName(Precision::kFp16);
    default:
      throw std::logic_error("nothing is computed in this type");
  }
}

ComputeScope::ComputeScope(at::Device device, at::ScalarType compute) : device_(device) {
  if (compute == at::kFloat) return;
  active_ = true;
  previous_ = at::autocast::is_autocast_enabled(device.type());
  previous_type_ = at::autocast::get_autocast_dtype(device.type());
  at::autocast::set_autocast_enabled(device.type(), true);
  at::autocast::set_autocast_dtype(device.type(), compute);
  at::autocast::increment_nesting();
}

ComputeScope::~ComputeScope() {
  if (!active_) return;
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device_.type(), previous_);
  at::autocast::set_autocast_dtype(device_.type(), previous_type_);
}

namespace {

// The number after `key` in a file of lines, or the whole file's where `key` is empty. Nothing where there is no such
// file.
std::optional<uint64_t> NumberIn(const Path& file, std::string_view key) {
  std::error_code code;
  if (!std::filesystem::exists(file, code)) return std::nullopt;
  for (const std::string& line : ReadLines(file)) {
    if (!line.starts_with(key)) continue;
    const std::string_view rest = Trim(std::string_view(line).substr(key.size()));
    uint64_t value = 0;
    if (ParseUint(rest.substr(0, rest.find(' ')), value)) return value;
  }
  return std::nullopt;
}

// 0 where there is no allocator, or it cannot say.
template <class Ask>
uint64_t AskAllocator(at::Device device, Ask&& ask) {
  try {
    auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()));
    return allocator == nullptr ? 0 : ask(*allocator, std::max<c10::DeviceIndex>(0, device.index()));
  } catch (const c10::Error&) {
    return 0;
  }
}

}  // namespace

uint64_t FreeMemoryBytes(at::Device device) {
  if (!device.is_cpu()) {
    return AskAllocator(device, [](c10::DeviceAllocator& allocator, c10::DeviceIndex index) {
      return static_cast<uint64_t>(allocator.getMemoryInfo(index).first);
    });
  }
  uint64_t free = NumberIn("/proc/meminfo", "MemAvailable:").value_or(0) * 1024;
  // Pages of files count as used by the group, too, but are given up before it is at its limit.
  const auto limit = NumberIn("/sys/fs/cgroup/memory.max", ""), used = NumberIn("/sys/fs/cgroup/memory.stat", "anon ");
  if (limit && used) free = std::min(free, *limit > *used ? *limit - *used : 0);
  return free;
}

bool IsOutOfMemory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  const std::string_view message = torch != nullptr ? torch->what_without_backtrace() : error.what();
  const auto says = [&](const char* words) { return message.find(words) != std::string_view::npos; };
  // The last of cuBLAS and cuDNN.
  return says("can't allocate memory") || says("out of memory") || says("_STATUS_ALLOC_FAILED");
}

void ReturnFreedMemory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

uint64_t PeakMemoryBytes() {
  if (const auto kilobytes = NumberIn("/proc/self/status", "VmHWM:")) return *kilobytes * 1024;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

uint64_t PeakMemoryBytes(at::Device device) {
  if (device.is_cpu()) return PeakMemoryBytes();
  return AskAllocator(device, [](c10::DeviceAllocator& allocator, c10::DeviceIndex index) {
    constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    return static_cast<uint64_t>(allocator.getDeviceStats(index).reserved_bytes[kAll].peak);
  });
}

void ResetPeakMemory() {
  const int file = ::open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  (void)!::write(file, "5", 1);
  ::close(file);
}

}  // namespace genview
