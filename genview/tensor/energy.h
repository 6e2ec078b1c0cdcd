// What the processors and the memory of this machine have drawn, by the counters of Intel and AMD that Linux shows
// (RAPL, powercap).
#pragma once

#include <optional>
#include <vector>

#include "genview/base/files.h"

namespace genview {

//   EnergyCounter counter;
//   ...                                            // work
//   if (const auto joules = counter.Joules()) ...  // of the whole machine, since the counter was made
class EnergyCounter {
 public:
  explicit EnergyCounter(const Path& zones = "/sys/class/powercap");
  // None where there are no counters, or only root may read them. Ask more often than a counter wraps: minutes at
  // hundreds of watts.
  std::optional<double> Joules();

 private:
  struct Zone {
    Path counter;
    double range = 0, last = 0;  // microjoules
  };
  std::vector<Zone> zones_;
  double microjoules_ = 0;
};

std::string HumanEnergy(double joules);  // "12.3 Wh", "1.25 kWh"

}  // namespace genview
