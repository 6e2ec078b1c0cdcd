#include "cli/environment.h"

#include <ATen/Parallel.h>
#include <torch/headeronly/version.h>

namespace genview {
namespace {

std::string SystemName() {
  std::error_code code;
  if (!std::filesystem::exists("/etc/os-release", code)) return "unknown";
  for (const auto& line : ReadLines("/etc/os-release")) {
    if (!line.starts_with("PRETTY_NAME=")) continue;
    std::string name = line.substr(sizeof("PRETTY_NAME=") - 1);
    std::erase(name, '"');
    return name;
  }
  return "unknown";
}

}  // namespace

Json DescribeMachine() {
  const CpuFeatures cpu = ReadCpuFeatures();
  return {{"genview", GENVIEW_VERSION},
          {"libtorch", TORCH_VERSION},
          {"compiler", GENVIEW_COMPILER},
          {"system", SystemName()},
          {"processor", cpu.model.empty() ? "unknown" : cpu.model},
          {"instructions", cpu.extensions},
          {"cores", cpu.cores},
          {"threads", at::get_num_threads()}};
}

Json DescribeEnvironment(const RunOptions& options) {
  Json environment = DescribeMachine();
  const at::Device device = ChooseDevice(options.device);
  const at::ScalarType compute = ChooseCompute(options.precision, device);
  environment["device"] = device.str();
  environment["precision"] = PrecisionName(compute);
  return environment;
}

}  // namespace genview
