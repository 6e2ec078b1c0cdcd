// genview doctor: is it my machine? Versions, devices, memory, and a small model on each device held to a reference.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "cli/commands.h"
#include "cli/environment.h"
#include "cli/help.h"
#include "cli/print.h"
#include "genview/dist/tensor_group.h"
#include "genview/models/blocks.h"
#include "genview/tensor/device.h"
#include "genview/tensor/nvidia.h"

namespace genview {
namespace {

struct DoctorConfig {
  DeviceChoice device = DeviceChoice::kAuto;
};
template <class Visit>
void VisitFields(DoctorConfig& c, Visit&& visit) {
  visit("device", c.device, Any{}, "cpu: the GPU is left alone; cuda: one that cannot be used is an error");
}

// A convolution, a norm, attention and two linear layers: one of each kind of kernel that stages rely on.
struct TinyModel {
  ConvWeights stem = MakeConv(3, 32, 4);
  NormWeights norm = MakeNorm(32);
  LinearWeights qkv = MakeLinear(32, 96), mlp = MakeLinear(32, 64), head = MakeLinear(64, 16);
};

WeightList ListWeights(TinyModel& m) {
  WeightList list;
  Append(list, "stem", m.stem);
  Append(list, "norm", m.norm);
  Append(list, "qkv", m.qkv);
  Append(list, "mlp", m.mlp);
  Append(list, "head", m.head);
  return list;
}

Tensor Forward(const TinyModel& m, const Tensor& pixels) {
  Tensor x = Conv(m.stem, pixels, 4).flatten(2).transpose(1, 2);           // [N,64,32]
  const auto qkv = Linear(m.qkv, LayerNorm(m.norm, x, 1e-5)).chunk(3, 2);  // 3 x [N,64,32]
  x = x + Attention(qkv[0], qkv[1], qkv[2], 4);
  return Linear(m.head, Activate(Activation::kGelu, Linear(m.mlp, x))).mean(1);  // [N,16]
}

// Largest difference to the reference, relative to the reference's largest value.
double Difference(const Tensor& got, const Tensor& reference) {
  const Tensor difference = (got.to(at::kCPU, at::kDouble) - reference).abs().max() / reference.abs().max();
  return difference.item<double>();
}

struct Check {
  std::string name;
  at::Device device;
  at::ScalarType compute;
  double allowed;
};

double RunCheck(const Check& check, const TinyModel& weights, const Tensor& pixels, const Tensor& reference) {
  TinyModel model = weights;
  MoveWeights(ListWeights(model), check.device);
  const ComputeScope scope(check.device, check.compute);
  return Difference(Forward(model, pixels.to(check.device)), reference);
}

int CompareDevices(bool with_gpu) {
  std::string reason = "left alone (--device cpu)";
  // Before the first convolution, see OpenCuda.
  const std::vector<at::Device> gpus = with_gpu ? Gpus(&reason) : std::vector<at::Device>{};
  const c10::InferenceMode guard;
  TinyModel model;
  InitWeights(ListWeights(model), Seed(1).With("doctor"));
  const Tensor pixels = NormalTensor(Seed(1).With("doctor pixels"), {4, 3, 32, 32});
  TinyModel exact = model;
  ConvertWeights(ListWeights(exact), at::kDouble);
  const Tensor reference = Forward(exact, pixels.to(at::kDouble));

  std::vector<Check> checks = {{"cpu fp32", at::kCPU, at::kFloat, 1e-4}, {"cpu bf16", at::kCPU, at::kBFloat16, 0.05}};
  if (gpus.empty()) Print("GPU           {}{}\n", with_gpu ? "none: " : "", reason);
  for (const at::Device gpu : gpus) {
    const std::string device = gpu.str(), name = NvidiaDeviceName(gpu.index());
    Print("{:<14}{}{}{} of its memory free\n", Format("GPU {}", gpu.index()), name, name.empty() ? "" : ", ",
          HumanBytes(FreeMemoryBytes(gpu)));
    checks.push_back({device + " fp32", gpu, at::kFloat, 2e-3});  // convolutions are in TF32, as LibTorch has it
    if (GpuMultipliesBf16(gpu)) checks.push_back({device + " bf16", gpu, at::kBFloat16, 0.05});
    checks.push_back({device + " fp16", gpu, at::kHalf, 0.01});
  }
  bool good = true;
  for (const Check& check : checks) {
    const double difference = RunCheck(check, model, pixels, reference);
    const bool passed = difference <= check.allowed;
    good &= passed;
    Print("check         {}: {}, largest difference {:.1e} of {:.0e} allowed\n", check.name, passed ? "good" : "WRONG",
          difference, check.allowed);
  }
  return good ? kOk : kFailed;
}

}  // namespace

std::vector<FieldInfo> DoctorFields() { return DescribeFields<DoctorConfig>(); }

int RunDoctor(const Args& args, Progress&) {
  const auto config = ParseFields<DoctorConfig>(args);
  const at::Device device = ChooseDevice(config.device);
  const bool with_gpu = config.device != DeviceChoice::kCpu;
  const Json machine = DescribeMachine();
  const auto text = [&](const char* key) { return machine[key].get<std::string>(); };
  const auto instructions = machine["instructions"].get<std::vector<std::string>>();
  Print("version       {}\n", VersionText());
  Print("built with    {}\n", text("compiler"));
  Print("system        {}\n", text("system"));
  Print("processor     {}, {} cores usable\n", text("processor"), machine["cores"].get<int64_t>());
  Print("instructions  {}\n", fmt::join(instructions, " "));
  Print("{:<14}device {}, precision {}\n", EnumName(config.device), device.str(),
        PrecisionName(ChooseCompute(Precision::kAuto, device)));
  Print("threads       {} for arithmetic\n", machine["threads"].get<int64_t>());
  Print("processes     {}\n", CanConnectTensors()
                                  ? "share all stages"
                                  : "share all stages but pretraining: built without the headers of gloo");
  Print("memory        {} free\n", HumanBytes(FreeMemoryBytes()));
  std::error_code code;
  const auto space = std::filesystem::space(std::filesystem::current_path(code), code);
  if (!code) Print("disk          {} free here\n", HumanBytes(space.available));
  const int result = CompareDevices(with_gpu);
  const bool unused = HasNvidiaDevice() && !(with_gpu && OpenCuda());
  Print("{}\n", result != kOk ? "something is wrong: see the lines marked WRONG"
                : unused      ? "the processor is as it should be; the GPU is not used"
                              : "everything is as it should be");
  return result;
}

}  // namespace genview
