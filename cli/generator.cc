// genview generator train|tower|measure: recipes whose keys are the fields of one config; flags override the recipe.
// `train` takes a recipe of `genview run`, too.

#include "cli/commands.h"
#include "cli/print.h"
#include "cli/run_plan.h"
#include "genview/base/toml.h"
#include "genview/generator/faithfulness.h"
#include "genview/generator/tower.h"
#include "genview/generator/train.h"

namespace genview {
namespace {

constexpr const char *kRecipe = "recipe", *kSet = "set";

template <class Config>
std::vector<FieldInfo> RecipeFields() {
  std::vector<FieldInfo> fields = DescribeFields<Config>();
  for (FieldInfo& field : fields) {
    if (field.rule == "required") field.rule = "";  // the recipe may give it
  }
  fields.insert(fields.begin(), {kRecipe, "text", "", "required", "recipe: a TOML file with these keys"});
  return fields;
}

std::string RecipeNamed(const Json& flags) {
  std::string file = JsonString(flags, kRecipe, "", kCommandLine);
  if (!file.empty()) return file;
  throw UsageError(
      {.what = "no recipe is given", .where = kCommandLine, .next = "name a TOML file; --help lists its keys"});
}

template <class Config>
Config ReadRecipe(const Args& args) {
  Json flags = args.values;
  const std::string file = RecipeNamed(flags);
  flags.erase(kRecipe);
  const TomlDocument document = ReadToml(file);
  Config config;
  ReadFields(config, document.values, {document.file, "", &document.lines});
  ReadFields(config, flags, {.file = "command line", .prefix = "", .lines = nullptr});
  CheckRequired(config, {document.file, "", &document.lines});
  return config;
}

// A key that only a recipe of `genview run` has.
bool IsRunRecipe(const std::vector<TomlDocument>& chain) {
  const Json flat = FieldsToJson(GeneratorConfig()), whole = FieldsToJson(Recipe());
  for (const TomlDocument& document : chain) {
    for (const auto& [key, value] : document.values.items()) {
      if (key == "arms" || (whole.contains(key) && !flat.contains(key))) return true;
    }
  }
  return false;
}

// The generator that `genview run` would train, but for its folder.
GeneratorConfig GeneratorOf(const RunPlan& plan) {
  GeneratorConfig config = plan.recipe.generator.config;
  if (config.images.empty()) config.images = plan.recipe.data.train;
  const std::string encoder = config.encoder.empty() ? plan.recipe.foreground.encoder : config.encoder.string();
  const ArmPlan* arm = EncoderArm(plan, encoder);
  config.encoder =
      arm != nullptr ? ArmFolder(plan, *arm, plan.seeds.front()) / "pretrain" / "encoder.safetensors" : Path(encoder);
  config.run = plan.recipe.run;
  return config;
}

}  // namespace

std::vector<FieldInfo> GeneratorTrainFields() {
  std::vector<FieldInfo> fields = RecipeFields<GeneratorConfig>();
  fields.insert(fields.begin() + 1, {kSet, "list of texts", Json::array(), "",
                                     "KEY=VALUE instead of the recipe's; may be given several times"});
  return fields;
}

int RunGeneratorTrain(const Args& args, Progress& progress) {
  const Path file = RecipeNamed(args.values);
  const std::vector<std::string> set = JsonStrings(args.values, kSet, {}, kCommandLine);
  Json flags = args.values;
  for (const char* key : {kRecipe, kSet}) flags.erase(key);
  GeneratorConfig config;
  if (IsRunRecipe(ReadRecipeChain(file))) {
    config = GeneratorOf(MakePlan(ReadRecipeFile<Recipe>(file, set), {}));
  } else {
    config = RecipeOf<GeneratorConfig>(ReadRecipeFile<GeneratorConfig>(file, set).values);
  }
  const FieldSource source{.file = kCommandLine, .prefix = "", .lines = nullptr};
  ReadFields(config, flags, source);
  CheckRequired(config, source);
  const GeneratorSummary done = TrainGenerator(config, progress);
  Print("{}: generator from {} images ({} skipped), {} + {} steps\n", config.out.string(), done.images, done.skipped,
        done.autoencoder_steps, done.denoiser_steps);
  return kOk;
}

std::vector<FieldInfo> GeneratorTowerFields() { return RecipeFields<TowerConfig>(); }

int RunGeneratorTower(const Args& args, Progress& progress) {
  const auto config = ReadRecipe<TowerConfig>(args);
  const TowerSummary done = TrainTower(config, progress);
  Print("{}: image tower after {} pictures; form named rightly in {:.1f}%, own caption of 256 found in {:.1f}%\n",
        config.out.string(), done.pictures, done.form_accuracy, done.retrieval);
  return kOk;
}

std::vector<FieldInfo> GeneratorMeasureFields() { return RecipeFields<FaithfulnessConfig>(); }

int RunGeneratorMeasure(const Args& args, Progress& progress) {
  const auto config = ReadRecipe<FaithfulnessConfig>(args);
  const Faithfulness table = MeasureFaithfulness(config, progress);
  Print("level  class kept (95% interval)  cosine to the image\n");
  for (const FaithfulnessRow& row : table.rows) {
    Print("{:>5}  {:>5.1f}% ({:.1f} to {:.1f})       {:.3f}\n", row.level, row.kept, row.low, row.high, row.cosine);
  }
  Print("images themselves: {:.1f}%\n", table.real);
  return kOk;
}

}  // namespace genview
