// Where and in which precision the arithmetic runs, chosen from what the machine does well.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "genview/base/fields.h"
#include "genview/tensor/tensor.h"

namespace genview {

enum class DeviceChoice { kAuto, kCpu, kCuda };
enum class Precision { kAuto, kFp32, kBf16, kFp16 };

template <>
struct EnumNames<DeviceChoice> {
  static constexpr std::pair<DeviceChoice, const char*> kNames[] = {
      {DeviceChoice::kAuto, "auto"}, {DeviceChoice::kCpu, "cpu"}, {DeviceChoice::kCuda, "cuda"}};
};
template <>
struct EnumNames<Precision> {
  static constexpr std::pair<Precision, const char*> kNames[] = {
      {Precision::kAuto, "auto"}, {Precision::kFp32, "fp32"}, {Precision::kBf16, "bf16"}, {Precision::kFp16, "fp16"}};
};

struct CpuFeatures {
  std::string model;                    // "AMD EPYC ..."
  std::vector<std::string> extensions;  // of avx2, fma, avx512f, avx512_bf16, amx_bf16, ...
  bool native_bf16 = false;             // avx512_bf16 or amx_bf16: multiplies bf16 itself
  bool amx_bf16 = false;                // many times faster
  int64_t cores = 1;                    // that this process may use
};
CpuFeatures ReadCpuFeatures();

// Opens libtorch_cuda when it is beside libtorch_cpu and a GPU answers; false (with the reason) otherwise. Idempotent.
// To be called before anything is computed: LibTorch asks once what CUDA has, at the first convolution or backward pass
// of any device, and keeps the answer.
bool OpenCuda(std::string* reason = nullptr);
bool HasCudaLibrary();  // libtorch_cuda is beside libtorch_cpu; it is not opened

// kAuto: the GPU when there is one. Throws UsageError when CUDA is asked for and cannot be had.
at::Device ChooseDevice(DeviceChoice choice);

// All that this process sees; `reason` says why there is none.
std::vector<at::Device> Gpus(std::string* reason = nullptr);

// While alive, another device stands for the GPU: how tests drive whole commands on a machine without one.
class InsteadOfCuda {
 public:
  explicit InsteadOfCuda(at::Device device);
  ~InsteadOfCuda();
  InsteadOfCuda(const InsteadOfCuda&) = delete;
  InsteadOfCuda& operator=(const InsteadOfCuda&) = delete;
};

// Of NVIDIA's those from compute capability 8 (A100, RTX 30) on.
bool GpuMultipliesBf16(at::Device device);

// The dtype for matrix products and convolutions. kAuto: bf16 where the GPU, or AMX, multiplies it, fp32 otherwise;
// fp16 only on a GPU.
at::ScalarType ChooseCompute(Precision precision, at::Device device);
// What to say where a processor has to imitate the arithmetic that was asked for; empty: nothing.
std::string SlowPrecision(at::ScalarType compute, at::Device device, const CpuFeatures& cpu = ReadCpuFeatures());
// "fp32", "bf16" or "fp16", as `--precision` names them.
std::string PrecisionName(at::ScalarType compute);

// While alive, matrix products and convolutions run in `compute` (autocast); kFloat leaves everything as it is.
class ComputeScope {
 public:
  ComputeScope(at::Device device, at::ScalarType compute);
  ~ComputeScope();
  ComputeScope(const ComputeScope&) = delete;
  ComputeScope& operator=(const ComputeScope&) = delete;

 private:
  at::Device device_;
  bool active_ = false, previous_ = false;
  at::ScalarType previous_type_ = at::kFloat;
};

uint64_t PeakMemoryBytes();                   // of this process since ResetPeakMemory, or since its start
uint64_t PeakMemoryBytes(at::Device device);  // of a GPU what this process has taken, since its start; 0: unknown
void ResetPeakMemory();                       // where the kernel lets a process do it
// What could be taken now without anything being swapped out or killed: of the machine and, where it has one, of the
// container's limit; of a GPU what its driver says. 0: unknown.
uint64_t FreeMemoryBytes(at::Device device = at::kCPU);
// Whether it was memory that was lacking, of the machine or of a GPU, by any of the ways in which LibTorch says so.
bool IsOutOfMemory(const std::exception& error);
void ReturnFreedMemory();  // what has been freed and is kept for later goes back to the system

}  // namespace genview
