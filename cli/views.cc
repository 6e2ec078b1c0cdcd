// genview views: for every picture one or several others that mean the same.
#include "cli/commands.h"
#include "cli/tasks.h"
#include "genview/views/generate.h"

namespace genview {

std::vector<FieldInfo> ViewsFields() { return DescribeFields<ViewsConfig>(); }

int RunViews(const Args& args, Progress& progress) {
  const auto config = ParseFields<ViewsConfig>(args);
  const ViewsSummary done = Shared(*args.group, progress, config);
  fmt::print("{}: {} views of {} asked for ({} images skipped)\n", done.folder.string(), done.written, done.asked, done.skipped);
  for (const std::string& lost : done.lost) fmt::print("  {}\n", lost);
  return kOk;
}

}  // namespace genview
