#include "genview/train/schedule.h"

#include "tests/golden/compare.h"

namespace genview {
namespace {

void ExpectTable(const Schedule& schedule, const std::string& name) {
  const WeightMap golden = Golden("train/optimizers");
  const Tensor& table = golden.At("lr." + name);
  for (int64_t step = 0; step < table.size(0); ++step) {
    EXPECT_NEAR(schedule.At(step), table[step].item<double>(), 1e-9) << name << " at step " << step;
  }
}

TEST(Schedule, FollowsPyTorchTables) {
  ExpectTable({.kind = ScheduleKind::kCosine, .lr = 0.3, .final_lr = 0.01, .total_steps = 20}, "cosine");
  ExpectTable({.kind = ScheduleKind::kStep, .lr = 0.3, .total_steps = 20, .milestones = {12, 16}}, "step");
  ExpectTable({.lr = 0.3, .warmup_steps = 5, .warmup_start = 0.25, .total_steps = 20}, "warmup_cosine");
}

TEST(Schedule, HoldsTheRateDuringAnEpoch) {
  const Schedule schedule{.lr = 1, .total_steps = 40, .hold = 10};
  EXPECT_EQ(schedule.At(0), schedule.At(9));
  EXPECT_EQ(schedule.At(10), schedule.At(19));
  EXPECT_NEAR(schedule.At(25), 0.5, 1e-12);
  EXPECT_GT(schedule.At(29), schedule.At(30));
}

TEST(Schedule, ConstantAndBeyondTheEnd) {
  EXPECT_EQ((Schedule{.kind = ScheduleKind::kConstant, .lr = 0.2}).At(1000), 0.2);
  EXPECT_EQ((Schedule{.lr = 0.2, .final_lr = 0.1, .total_steps = 10}).At(1000), 0.1);
  EXPECT_EQ((Schedule{.lr = 0.2, .warmup_steps = 10, .total_steps = 10}).At(0), 0);
}

}  // namespace
}  // namespace genview
