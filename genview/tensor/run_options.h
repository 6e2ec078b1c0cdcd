// What every stage that computes lets the user choose.
#pragma once

#include "genview/tensor/device.h"

namespace genview {

struct RunOptions {
  DeviceChoice device = DeviceChoice::kAuto;
  Precision precision = Precision::kAuto;
  int64_t batch = 0;    // of frozen models; 0: chosen by the stage
  int64_t threads = 0;  // of loaders; 0: as many as cores
  uint64_t seed = 0;
  bool strict = false;  // the first bad image ends the run
};

// Those that say how the work is done and not what comes out of it: no reason to begin again.
inline constexpr const char* kMachineOptions[] = {"device", "threads", "batch", "strict"};

template <class Visit>
void VisitFields(RunOptions& o, Visit&& visit) {
  visit("device", o.device, Any{}, "where to compute; auto takes the GPU when there is one");
  visit("precision", o.precision, Any{},
        "of matrix products; auto takes bf16 on a GPU and on processors with AMX, fp32 on others");
  visit("batch", o.batch, RangeOrAuto<int64_t>{{0, 1 << 20}},
        "images per step of frozen models; 0 = chosen for this machine");
  visit("threads", o.threads, RangeOrAuto<int64_t>{{0, 1024}}, "loader threads; 0 = as many as cores");
  visit("seed", o.seed, Any{}, "of everything random in this run");
  visit("strict", o.strict, Any{}, "stop at the first image that cannot be read");
}

}  // namespace genview
