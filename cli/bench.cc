// genview bench ...: this machine on real work.
#include "cli/commands.h"
#include "genview/pretrain/bench_step.h"

namespace genview {
namespace {

struct StepArgs {
  BenchStepConfig bench;
  bool json = false;
};
template <class Visit>
void VisitFields(StepArgs& c, Visit&& visit) {
  VisitFields(c.bench, visit);
  visit("json", c.json, Any{}, "print the figures as JSON");
}

}  // namespace

std::vector<FieldInfo> BenchStepFields() { return DescribeFields<StepArgs>(); }

int RunBenchStep(const Args& args, Progress& progress) {
  const auto config = ParseFields<StepArgs>(args);
  const BenchStepResult result = BenchStep(config.bench, progress);
  if (config.json) {
    fmt::print("{}\n", BenchStepToJson(result).dump());
  } else {
    fmt::print("{:.0f} pairs/s, {:.1f} ms a step ({:.1f} to {:.1f}), {} on {}, {} at most\n", result.pairs_per_second, result.median_ms,
               result.min_ms, result.max_ms, result.precision, result.device, HumanBytes(result.peak_bytes));
  }
  return kOk;
}

}  // namespace genview
