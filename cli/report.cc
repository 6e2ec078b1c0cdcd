// genview report: one page of one or several runs.
#include "genview/report/report.h"
#include "cli/print.h"

#include "cli/commands.h"

namespace genview {
namespace {

struct ReportConfig {
  std::vector<std::string> runs;
  Path out = "report.html";
};
template <class Visit>
void VisitFields(ReportConfig& c, Visit&& visit) {
  visit("runs", c.runs, Required{}, "folders that `genview run` wrote");
  visit("out", c.out, Any{}, "file to write");
}

}  // namespace

std::vector<FieldInfo> ReportFields() { return DescribeFields<ReportConfig>(); }

int RunReport(const Args& args, Progress&) {
  const auto config = ParseFields<ReportConfig>(args);
  for (const std::string& run : config.runs) {
    RefuseToReplaceInput(config.out,
                         {Path(run) / "recipe.toml", Path(run) / "results.json", Path(run) / "environment.json"});
  }
  const ReportSummary summary = WriteReport({config.runs.begin(), config.runs.end()}, config.out);
  Print("{}\n{}: {}\n", summary.headline, config.out.string(), HumanBytes(summary.bytes));
  return kOk;
}

}  // namespace genview
