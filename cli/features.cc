// genview features: what an encoder makes of every picture.
#include "genview/eval/features.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/tasks.h"

namespace genview {

std::vector<FieldInfo> FeaturesFields() { return DescribeFields<FeaturesConfig>(); }

int RunFeatures(const Args& args, Progress& progress) {
  const auto config = ParseFields<FeaturesConfig>(args);
  const FeaturesSummary done = Shared(*args.group, progress, config);
  Print("{}: {} images, {} numbers each ({} skipped)\n", config.out.string(), done.images, done.embedding_width,
        done.skipped);
  return kOk;
}

}  // namespace genview
