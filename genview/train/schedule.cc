#include "genview/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace genview {

// From 1 at 0 to 0 at 1.
static double HalfCosine(double progress) {
  return 0.5 * (1 + std::cos(std::numbers::pi * std::clamp(progress, 0.0, 1.0)));
}

double Schedule::At(int64_t step) const {
  if (step < warmup_steps) {
    return lr * (warmup_start + (1 - warmup_start) * static_cast<double>(step) / static_cast<double>(warmup_steps));
  }
  const int64_t held = std::max(warmup_steps, step - step % std::max<int64_t>(1, hold));
  switch (kind) {
    case ScheduleKind::kConstant:
      return lr;
    case ScheduleKind::kCosine: {
      const auto length = static_cast<double>(std::max<int64_t>(1, total_steps - warmup_steps));
      return final_lr + (lr - final_lr) * HalfCosine(static_cast<double>(held - warmup_steps) / length);
    }
    case ScheduleKind::kStep: {
      double rate = lr;
      for (const int64_t milestone : milestones) rate *= held >= milestone ? decay : 1;
      return rate;
    }
  }
  return lr;
}

}  // namespace genview
