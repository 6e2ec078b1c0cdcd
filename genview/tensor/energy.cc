#include "genview/tensor/energy.h"

#include <algorithm>
#include <fstream>

#include "genview/base/text.h"

namespace genview {
namespace {

template <class T>
std::optional<T> ReadValue(const Path& path) {
  std::ifstream file(path);
  T value;
  if (!(file >> value)) return std::nullopt;
  return value;
}

}  // namespace

EnergyCounter::EnergyCounter(const Path& zones) {
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(zones, none)) {
    // Packages and, where it is outside of them, memory. "core" and "uncore" are parts of a package, "psys" is the sum
    // of all, and what is read through registers is there a second time through mapped memory.
    if (entry.path().filename().string().find("-mmio") != std::string::npos) continue;
    const auto name = ReadValue<std::string>(entry.path() / "name");
    if (!name || !(name->starts_with("package") || *name == "dram")) continue;
    const Path counter = entry.path() / "energy_uj";
    const auto now = ReadValue<double>(counter);
    const auto range = ReadValue<double>(entry.path() / "max_energy_range_uj");
    if (now && range) zones_.push_back({counter, *range, *now});
  }
}

std::optional<double> EnergyCounter::Joules() {
  for (Zone& zone : zones_) {
    const auto now = ReadValue<double>(zone.counter);
    if (!now) return std::nullopt;
    microjoules_ += *now - zone.last + (*now < zone.last ? zone.range : 0);
    zone.last = *now;
  }
  if (zones_.empty()) return std::nullopt;
  return microjoules_ / 1e6;
}

std::string HumanEnergy(double joules) {
  const double watt_hours = joules / 3600;
  return watt_hours < 1000 ? Format("{:.3g} Wh", watt_hours) : Format("{:.3g} kWh", watt_hours / 1000);
}

}  // namespace genview
