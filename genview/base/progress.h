// How a stage speaks to whoever started it. The library never prints, exits or reads the environment.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "genview/base/error.h"

namespace genview {

class Progress {
 public:
  virtual ~Progress() = default;
  virtual void Begin(std::string_view /*stage*/, int64_t /*total*/, std::string_view /*unit*/) {}
  // `done` of `total` so far. `wait_share`: share of the time spent waiting for data, in [0, 1], or < 0 if unknown.
  // `note`: a few words such as "loss 6.12".
  virtual void Update(int64_t /*done*/, double /*wait_share*/ = -1, std::string_view /*note*/ = {}) {}
  virtual void End(std::string_view /*summary*/ = {}) {}
  virtual void Warn(std::string_view /*message*/) {}
  // True once the user has asked to stop: the stage saves what it has and calls ThrowIfStopped.
  virtual bool Stopped() const { return false; }

  void ThrowIfStopped() const {
    if (Stopped()) throw Interrupted();
  }
};

}  // namespace genview
