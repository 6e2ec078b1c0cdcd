// genview pretrain RECIPE.toml: one pretraining run, of one arm of a recipe whose views and models are there already.
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/run_plan.h"
#include "cli/tasks.h"

namespace genview {
namespace {

struct PretrainArgs {
  Path recipe;
  std::string arm;
  Path out;
  std::string init;
  std::vector<std::string> set;
  RunOptions run;
};
template <class Visit>
void VisitFields(PretrainArgs& c, Visit&& visit) {
  visit("recipe", c.recipe, Required{}, "recipe file");
  visit("arm", c.arm, Any{}, "arm whose settings are taken; empty = the first");
  visit("out", c.out, Any{}, "folder of the run; empty = that of `genview run`, runs/NAME/ARM/pretrain");
  visit("init", c.init, Any{}, "weights the encoder begins with, in place of the recipe's");
  visit("set", c.set, Any{}, "KEY=VALUE instead of the recipe's; may be given several times");
  visit("run", c.run, Section{}, "device, precision, seed and the like");
}

const ArmPlan& FindArm(const RunPlan& plan, const std::string& name) {
  if (name.empty()) return plan.arms.front();
  std::vector<std::string> known;
  for (const ArmPlan& arm : plan.arms) {
    if (arm.name == name) return arm;
    known.push_back(arm.name);
  }
  throw UsageError({.what = Format("the recipe has no arm `{}`", name),
                    .where = Format("{}, --arm", kCommandLine),
                    .next = SuggestName(name, known)});
}

}  // namespace

std::vector<FieldInfo> PretrainFields() { return DescribeFields<PretrainArgs>(); }

int RunPretrain(const Args& args, Progress& progress) {
  const auto options = ParseFields<PretrainArgs>(args);
  const auto flags = args.values.find("run");
  const RunPlan plan = MakePlan(ReadRecipeFile<Recipe>(options.recipe, options.set),
                                {.out = "", .run = flags == args.values.end() ? Json::object() : *flags});
  const ArmPlan& arm = FindArm(plan, options.arm);
  const bool seed_given = flags != args.values.end() && flags->contains("seed");
  PretrainConfig config = PretrainConfigOf(plan, arm, seed_given ? plan.recipe.run.seed : plan.seeds.front());
  if (!options.out.empty()) config.out = options.out.string();
  if (!options.init.empty()) config.init = options.init;
  CheckRequired(config, {.file = options.recipe.string(), .prefix = "pretrain", .lines = nullptr});
  const PretrainSummary done = Shared(*args.group, progress, config);
  Print("{}: {} {}, {} steps, loss {:.4f}{} ({} images skipped)\n", config.out, done.epochs,
        done.epochs == 1 ? "epoch" : "epochs", done.steps, done.loss, done.collapsed ? ", looks collapsed" : "",
        done.skipped);
  if (done.agreement.pairs > 0) {
    Print("cached weights rank {} pairs as online ones do to {:.3f} (Spearman)", done.agreement.pairs,
          done.agreement.spearman);
    if (done.agreement.generated > 0)
      Print(", the {} with a generated view to {:.3f}", done.agreement.generated, done.agreement.generated_spearman);
    Print("\n");
  }
  Print("{}\n", (Path(config.out) / "encoder.safetensors").string());
  return kOk;
}

}  // namespace genview
