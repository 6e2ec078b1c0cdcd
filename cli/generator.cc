// genview generator train|tower|measure: recipes whose keys are the fields of one config; --set, and flags before it,
// override them. `train` takes a recipe of `genview run`, too.
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
  const FieldInfo recipe = {kRecipe, "text", "", "required", "recipe: a TOML file with these keys"},
                  set = {kSet, "list of texts", Json::array(), "",
                         "KEY=VALUE instead of the recipe's; may be given several times"};
  fields.insert(fields.begin(), {recipe, set});
  return fields;
}

// `read`: the config that a file and its assignments give.
template <class Config, class Read>
Config ReadRecipe(const Args& args, Read&& read) {
  Json flags = args.values;
  const std::string file = JsonString(flags, kRecipe, "", kCommandLine);
  if (file.empty()) {
    throw UsageError(
        {.what = "no recipe is given", .where = kCommandLine, .next = "name a TOML file; --help lists its keys"});
  }
  const std::vector<std::string> set = JsonStrings(flags, kSet, {}, kCommandLine);
  for (const char* key : {kRecipe, kSet}) flags.erase(key);
  Config config = read(file, set);
  const FieldSource source{.file = kCommandLine, .prefix = "", .lines = nullptr};
  ReadFields(config, flags, source);
  CheckRequired(config, source);
  return config;
}

template <class Config>
Config ReadFlatRecipe(const Path& file, const std::vector<std::string>& set) {
  return RecipeOf<Config>(ReadRecipeFile<Config>(file, set).values);
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

GeneratorConfig ReadGenerator(const Path& file, const std::vector<std::string>& set) {
  if (!IsRunRecipe(ReadRecipeChain(file))) return ReadFlatRecipe<GeneratorConfig>(file, set);
  return GeneratorConfigOf(MakePlan(ReadRecipeFile<Recipe>(file, set), {}), "");
}

}  // namespace

std::vector<FieldInfo> GeneratorTrainFields() { return RecipeFields<GeneratorConfig>(); }

int RunGeneratorTrain(const Args& args, Progress& progress) {
  const auto config = ReadRecipe<GeneratorConfig>(args, ReadGenerator);
  const GeneratorSummary done = TrainGenerator(config, progress);
  Print("{}: generator from {} images ({} skipped), {} + {} steps\n", config.out.string(), done.images, done.skipped,
        done.autoencoder_steps, done.denoiser_steps);
  return kOk;
}

std::vector<FieldInfo> GeneratorTowerFields() { return RecipeFields<TowerConfig>(); }

int RunGeneratorTower(const Args& args, Progress& progress) {
  const auto config = ReadRecipe<TowerConfig>(args, ReadFlatRecipe<TowerConfig>);
  const TowerSummary done = TrainTower(config, progress);
  Print("{}: image tower after {} pictures; form named rightly in {:.1f}%, own caption of 256 found in {:.1f}%\n",
        config.out.string(), done.pictures, done.form_accuracy, done.retrieval);
  return kOk;
}

std::vector<FieldInfo> GeneratorMeasureFields() { return RecipeFields<FaithfulnessConfig>(); }

int RunGeneratorMeasure(const Args& args, Progress& progress) {
  const auto config = ReadRecipe<FaithfulnessConfig>(args, ReadFlatRecipe<FaithfulnessConfig>);
  const Faithfulness table = MeasureFaithfulness(config, progress);
  Print("level  class kept (95% interval)  cosine to the image\n");
  for (const FaithfulnessRow& row : table.rows) {
    Print("{:>5}  {:>5.1f}% ({:.1f} to {:.1f})       {:.3f}\n", row.level, row.kept, row.low, row.high, row.cosine);
  }
  Print("images themselves: {:.1f}%\n", table.real);
  return kOk;
}

}  // namespace genview
