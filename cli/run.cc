// genview run RECIPE.toml: all stages of a recipe, and a report at the end.
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/runner.h"

namespace genview {
namespace {

constexpr const char* kStages[] = {"foreground", "generator", "views", "pretrain", "eval", "gallery", "report"};

struct RunConfig {
  Path recipe;
  Path out;
  std::vector<std::string> set;
  std::vector<std::string> only;
  bool dry_run = false;
  RunOptions run;
};
template <class Visit>
void VisitFields(RunConfig& c, Visit&& visit) {
  visit("recipe", c.recipe, Required{}, "recipe file");
  visit("out", c.out, Any{}, "folder of the run; empty = runs/NAME");
  visit("set", c.set, Any{}, "KEY=VALUE instead of the recipe's; may be given several times");
  visit("only", c.only, Any{}, "stages to make: foreground, generator, views, pretrain, eval, gallery, report");
  visit("dry_run", c.dry_run, Any{}, "print the resolved recipe and make nothing");
  visit("run", c.run, Section{}, "device, precision, seed and the like");
}

void CheckStages(const std::vector<std::string>& only) {
  const std::vector<std::string> known(std::begin(kStages), std::end(kStages));
  for (const auto& stage : only) {
    if (std::find(known.begin(), known.end(), stage) != known.end()) continue;
    throw UsageError({.what = Format("there is no stage `{}`", stage), .where = Format("{}, --only", kCommandLine), .next = SuggestName(stage, known)});
  }
}

const ArmScore* Find(const std::vector<ArmScore>& scores, const std::string& arm, const char* eval) {
  for (const ArmScore& score : scores) {
    if (score.arm == arm && score.eval == eval && score.score == "top1") return &score;
  }
  return nullptr;
}

void PrintScores(const std::vector<ArmScore>& scores) {
  std::vector<std::string> arms;
  size_t widest = 3;
  for (const ArmScore& score : scores) {
    if (std::find(arms.begin(), arms.end(), score.arm) == arms.end()) arms.push_back(score.arm);
    widest = std::max(widest, score.arm.size());
  }
  if (arms.empty()) return;
  const auto cell = [](const ArmScore* score) {
    return score == nullptr ? std::string("-") : Format("{:.1f} ({:.1f} to {:.1f})", score->value, score->low, score->high);
  };
  Print("{:<{}}  {:<22}  {}\n", "arm", widest, "linear top-1, %", "kNN top-1, %");
  for (const auto& arm : arms) Print("{:<{}}  {:<22}  {}\n", arm, widest, cell(Find(scores, arm, "linear")), cell(Find(scores, arm, "knn")));
}

}  // namespace

std::vector<FieldInfo> RunFields() { return DescribeFields<RunConfig>(); }

int RunRun(const Args& args, Progress& progress) {
  const auto config = ParseFields<RunConfig>(args);
  CheckStages(config.only);
  const auto flags = args.values.find("run");
  RunPlan plan = MakePlan(ReadRecipeFile<Recipe>(config.recipe, config.set),
                          {.out = config.out, .run = flags == args.values.end() ? Json::object() : *flags});
  if (config.dry_run) {
    Print("{}", PlanToToml(plan));
    return kOk;
  }
  Runner runner(std::move(plan), config.only, progress, *args.group);
  runner.Go();
  PrintScores(runner.scores());
  Print("{}\n{}\n", runner.headline(), runner.report().string());
  return kOk;
}

}  // namespace genview
