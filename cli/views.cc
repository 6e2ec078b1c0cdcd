// genview views: for every picture one or several others that mean the same; what they will cost; whether they are
// whole.
#include <algorithm>

#include "cli/commands.h"
#include "cli/print.h"
#include "cli/tasks.h"
#include "genview/views/plan.h"
#include "genview/views/verify.h"

namespace genview {
namespace {

constexpr size_t kProblemsShown = 20;

struct ViewsArgs {
  ViewsConfig views;
  bool plan = false;
  double watts = 0;
};
template <class Visit>
void VisitFields(ViewsArgs& c, Visit&& visit) {
  VisitFields(c.views, visit);
  visit("plan", c.plan, Any{}, "make a few views for a minute, say what all will cost, and write nothing");
  visit("watts", c.watts, Range<double>{0, 1e9},
        "with --plan: what the machine draws, for the energy of the job; 0: its processors' counters say");
}

}  // namespace

std::vector<FieldInfo> ViewsFields() { return DescribeFields<ViewsArgs>(); }

int RunViews(const Args& args, Progress& progress) {
  const auto config = ParseFields<ViewsArgs>(args);
  if (config.plan) {
    Print("{}", PlanToText(config.views, PlanViews(config.views, {.watts = config.watts}, progress)));
    return kOk;
  }
  const ViewsSummary done = Shared(*args.group, progress, config.views);
  Print("{}: {} views of {} asked for ({} images skipped)\n", done.folder.string(), done.written, done.asked,
        done.skipped);
  for (const std::string& lost : done.lost) Print("  {}\n", lost);
  return kOk;
}

std::vector<FieldInfo> ViewsVerifyFields() { return DescribeFields<VerifyConfig>(); }

int RunViewsVerify(const Args& args, Progress& progress) {
  const auto config = ParseFields<VerifyConfig>(args);
  const VerifyReport report = VerifyViews(config, progress);
  const size_t shown = std::min(report.problems.size(), kProblemsShown);
  for (size_t i = 0; i < shown; ++i) Print("{}\n", report.problems[i]);
  if (shown < report.problems.size()) Print("and {} problems more\n", report.problems.size() - shown);
  Print("{}: {} good views, {} problems, {} views missing", config.folder.string(), report.rows, report.problems.size(),
        report.missing);
  if (config.repair) Print("; {} made again", report.made);
  Print("\n");
  return config.repair || (report.problems.empty() && report.missing == 0) ? kOk : kFailed;
}

}  // namespace genview
