// genview run RECIPE.toml: all stages of a recipe, and a report at the end.
#include <set>

#include "cli/commands.h"
#include "cli/print.h"
#include "cli/runner.h"
#include "genview/data/source.h"

namespace genview {
namespace {

constexpr const char* kStages[] = {"foreground", "generator", "views", "pretrain", "eval", "gallery", "report"};

struct RunConfig {
  Path recipe;
  Path out;
  std::vector<std::string> set;
  std::vector<std::string> only;
  std::vector<std::string> arms;
  bool dry_run = false;
  RunOptions run;
};
template <class Visit>
void VisitFields(RunConfig& c, Visit&& visit) {
  visit("recipe", c.recipe, Required{}, "recipe file");
  visit("out", c.out, Any{}, "folder of the run; empty = runs/NAME");
  visit("set", c.set, Any{}, "KEY=VALUE instead of the recipe's; may be given several times");
  visit("only", c.only, Any{}, "stages to make: foreground, generator, views, pretrain, eval, gallery, report");
  visit("arms", c.arms, Any{}, "arms to make, and what they need; the others stay as they are, made or not");
  visit("dry_run", c.dry_run, Any{}, "print the resolved recipe, say which stages are done, and make nothing");
  visit("run", c.run, Section{}, "device, precision, seed and the like");
}

void CheckStages(const std::vector<std::string>& only, bool given) {
  const std::vector<std::string> known(std::begin(kStages), std::end(kStages));
  if (given && only.empty()) {
    throw UsageError(
        {.what = "--only names no stage", .where = Format("{}, --only", kCommandLine), .next = SuggestName("", known)});
  }
  for (const auto& stage : only) {
    if (std::find(known.begin(), known.end(), stage) != known.end()) continue;
    throw UsageError({.what = Format("there is no stage `{}`", stage),
                      .where = Format("{}, --only", kCommandLine),
                      .next = SuggestName(stage, known)});
  }
}

// A folder where the run would write over its recipe, over what no run has made, or among its pictures.
void RefuseItsOwnInputs(const RunPlan& plan, const std::vector<Path>& recipes) {
  std::error_code code;
  if (!std::filesystem::exists(plan.folder / "state", code)) {  // no run has begun here
    const std::string own = PlanToToml(plan);
    for (const Path& recipe : recipes) {
      if (!std::filesystem::equivalent(plan.folder / "recipe.toml", recipe, code) || ReadFile(recipe) == own) continue;
      throw UsageError({.what = "the recipe would be written over by what it comes to",
                        .where = recipe.string(),
                        .next = "give it another name, or give another --out"});
    }
    for (const char* name : {"recipe.toml", "environment.json", "results.json", "report.html"}) {
      const Path file = plan.folder / name;
      if (!std::filesystem::is_regular_file(file, code) || ReadFile(file) == own) continue;
      throw UsageError({.what = "the run would write over what it has not made",
                        .where = file.string(),
                        .next = "move it away, or give another --out"});
    }
  }
  for (const std::string& images : {plan.recipe.data.train, plan.recipe.data.test, plan.recipe.generator.config.images})
    RefuseAmongPictures(images, plan.folder);
}

// What would be made and what is done, on stderr: stdout is the recipe.
void ShowStages(const RunPlan& plan, const std::vector<std::string>& only, Progress& progress) {
  const std::vector<PlannedStage> stages = StagesOf(plan, only);
  StageBook book(plan.folder / "state");
  StageProgress shown(progress, std::ssize(stages));
  std::set<std::string> to_make;
  for (const PlannedStage& stage : stages) {
    const bool waits = std::any_of(stage.inputs.begin(), stage.inputs.end(),
                                   [&](const StageInput& input) { return to_make.contains(input.stage); });
    std::string what = "to be made";
    if (waits && book.IsThere(stage.name, stage.outputs)) what = "to be made again if what it is made from changes";
    if (!waits && book.RequestOf(stage.name).is_object()) what = book.WhatIsToDo(RequestOf(stage, book));
    if (what != StageBook::kDone) to_make.insert(stage.name);
    shown.Enter(stage.name);
    shown.Say(what);
  }
  progress.Begin("stages", 0, "");
  progress.End(Format("{} of {} are done", stages.size() - to_make.size(), stages.size()));
}

// A line for each arm, a column for each kind of score that any of them has.
void PrintScores(const std::vector<ArmScore>& scores) {
  std::vector<std::string> arms, evals;
  const auto note = [](std::vector<std::string>& names, const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  size_t widest = 3;
  for (const ArmScore& score : scores) {
    note(arms, score.arm);
    note(evals, score.eval);
    widest = std::max(widest, score.arm.size());
  }
  if (arms.empty()) return;
  const auto print = [&](const std::string& first, const auto& cell) {
    std::string line = Format("{:<{}}", first, widest);
    for (const auto& eval : evals) line += Format("  {:<22}", cell(eval));
    Print("{}\n", line.substr(0, line.find_last_not_of(' ') + 1));
  };
  print("arm", [](const std::string& eval) { return Format("{} top-1, %", EvalName(eval)); });
  for (const auto& arm : arms) {
    print(arm, [&](const std::string& eval) -> std::string {
      for (const ArmScore& score : scores) {
        if (score.arm == arm && score.eval == eval && score.score == "top1")
          return Format("{:.1f} ({:.1f} to {:.1f})", score.value, score.low, score.high);
      }
      return "-";
    });
  }
}

}  // namespace

std::vector<FieldInfo> RunFields() { return DescribeFields<RunConfig>(); }

int RunRun(const Args& args, Progress& progress) {
  const auto config = ParseFields<RunConfig>(args);
  CheckStages(config.only, args.values.contains("only"));
  const auto flags = args.values.find("run");
  const RecipeFile recipe = ReadRecipeFile<Recipe>(config.recipe, config.set);
  RunPlan plan = MakePlan(recipe, {.out = config.out, .run = flags == args.values.end() ? Json::object() : *flags});
  if (args.values.contains("arms")) ChooseArms(plan, config.arms, Format("{}, --arms", kCommandLine));
  if (flags != args.values.end() && flags->contains("seed") && !plan.recipe.seeds.empty()) {
    progress.Warn(Format(
        "--seed {} does not reach the arms, which are trained with the recipe's `seeds` ({}); --set seeds=[{}] trains "
        "them with it",
        plan.recipe.run.seed, fmt::join(plan.seeds, ", "), plan.recipe.run.seed));
  }
  if (config.dry_run) {
    Print("{}", PlanToToml(plan));
    try {
      CheckInputs(plan, config.only);
      ShowStages(plan, config.only, progress);
    } catch (const Error& error) {  // a recipe may be looked at where its images are not
      progress.Warn(Format("{} ({})", error.text().what, error.text().where));
    }
    return kOk;
  }
  RefuseItsOwnInputs(plan, recipe.files);
  CheckInputs(plan, config.only);
  if (config.only == std::vector<std::string>{"report"} && !std::filesystem::exists(plan.folder / "state")) {
    throw UsageError({.what = "there is no run to report on",
                      .where = plan.folder.string(),
                      .next = "run the recipe without --only, or name the folder of its run with --out"});
  }
  Runner runner(std::move(plan), config.only, progress, *args.group);
  runner.Go();
  PrintScores(runner.scores());
  Print("{}\n", runner.headline());
  for (const Path& encoder : runner.encoders()) Print("encoder: {}\n", encoder.string());
  Print("{}\n", runner.report().string());
  return kOk;
}

}  // namespace genview
