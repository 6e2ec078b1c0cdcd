// The learning rate as a pure function of the step, so that a resumed run needs no state for it.
//
//   Schedule schedule{.kind = ScheduleKind::kCosine, .lr = 0.03, .total_steps = epochs * per_epoch, .hold = per_epoch};
//   optimizer->Step(schedule.At(step));       // step counts from 0
#pragma once

#include <cstdint>
#include <vector>

#include "genview/base/fields.h"

namespace genview {

enum class ScheduleKind { kConstant, kCosine, kStep };

template <>
struct EnumNames<ScheduleKind> {
  static constexpr std::pair<ScheduleKind, const char*> kNames[] = {
      {ScheduleKind::kConstant, "constant"}, {ScheduleKind::kCosine, "cosine"}, {ScheduleKind::kStep, "step"}};
};

struct Schedule {
  ScheduleKind kind = ScheduleKind::kCosine;
  double lr = 0;             // after the warm-up
  double final_lr = 0;       // which the cosine reaches at total_steps
  int64_t warmup_steps = 0;  // linear from warmup_start * lr to lr, always step by step
  double warmup_start = 0;
  int64_t total_steps = 0;  // warm-up included
  int64_t hold = 1;         // the rate changes every `hold` steps: 1 = each iteration, steps per epoch = each epoch
  std::vector<int64_t> milestones{};  // kStep: from each of these steps on the rate is `decay` times what it was
  double decay = 0.1;

  double At(int64_t step) const;
};

}  // namespace genview
