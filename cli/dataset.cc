// genview dataset make|pack: the built-in procedural pictures as files, and pictures as tar shards.
#include "cli/commands.h"
#include "cli/print.h"
#include "genview/data/pack.h"
#include "genview/data/shapes_dataset.h"

namespace genview {
namespace {

struct MakeConfig {
  std::string kind;
  Path out;
  ShapesConfig shapes;
  int64_t threads = 0;
};
template <class Visit>
void VisitFields(MakeConfig& c, Visit&& visit) {
  visit("kind", c.kind, Required{}, "what to draw: shapes");
  visit("out", c.out, Required{}, "folder to write images/ and masks/ into");
  VisitFields(c.shapes, visit);
  visit("threads", c.threads, RangeOrAuto<int64_t>{{0, 1024}}, "0 = as many as cores");
}

}  // namespace

std::vector<FieldInfo> DatasetMakeFields() { return DescribeFields<MakeConfig>(); }

int RunDatasetMake(const Args& args, Progress& progress) {
  const auto config = ParseFields<MakeConfig>(args);
  if (config.kind != "shapes") {
    throw UsageError({.what = Format("no data set `{}` can be made", config.kind),
                      .where = kCommandLine,
                      .next = "genview dataset make shapes --out DIR"});
  }
  const auto done = MakeShapesDataset(config.shapes, config.out, progress, config.threads);
  Print("{} images in {}, their masks in {}\n", done.images, (config.out / "images").string(),
        (config.out / "masks").string());
  return kOk;
}

std::vector<FieldInfo> DatasetPackFields() { return DescribeFields<PackConfig>(); }

int RunDatasetPack(const Args& args, Progress& progress) {
  const auto config = ParseFields<PackConfig>(args);
  SkippedLog skipped;
  const PackSummary done = PackShards(config, progress, skipped);
  Print("{}: {} images in {} shards ({} skipped)\n", done.spec, done.images, done.shards, skipped.count());
  return kOk;
}

}  // namespace genview
