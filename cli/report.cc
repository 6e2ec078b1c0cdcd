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

// In a run's folder a page replaces pages alone: the rest is what the run has made.
void RefuseToReplaceResults(const Path& out, const Path& run) {
  std::error_code code;
  if (!std::filesystem::is_regular_file(out, code) || MappedFile(out).text().starts_with(kPageBegins)) return;
  const Path place = std::filesystem::weakly_canonical(out).lexically_relative(std::filesystem::weakly_canonical(run));
  if (place.empty() || *place.begin() == "..") return;
  throw UsageError(
      {.what = "a file of the run would be replaced", .where = out.string(), .next = "give another --out"});
}

}  // namespace

std::vector<FieldInfo> ReportFields() { return DescribeFields<ReportConfig>(); }

int RunReport(const Args& args, Progress&) {
  const auto config = ParseFields<ReportConfig>(args);
  for (const std::string& run : config.runs) RefuseToReplaceResults(config.out, run);
  SweepPartFilesBeside({config.out});  // of a killed call
  const ReportSummary summary = WriteReport({config.runs.begin(), config.runs.end()}, config.out);
  Print("{}\n{}: {}\n", summary.headline, config.out.string(), HumanBytes(summary.bytes));
  return kOk;
}

}  // namespace genview
