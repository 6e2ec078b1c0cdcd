// A recipe made ready to run: names and paths resolved, every arm a recipe of its own.
//
//   const RunPlan plan = MakePlan(ReadRecipeFile<Recipe>("recipes/demo.toml"), {.out = "", .run = flags});
//   Print("{}", PlanToToml(plan));        // a recipe that gives the same plan
#pragma once

#include <string>
#include <vector>

#include "cli/recipe.h"
#include "cli/recipe_file.h"

namespace genview {

struct ArmPlan {
  std::string name;
  Json set;
  Recipe recipe;       // the base with `set`
  std::string views;   // folder of its generated views within the run, "" when it uses none of the run's
  bool chosen = true;  // false: this call makes nothing for it alone
};

struct RunPlan {
  std::string name;
  Path folder;
  Recipe recipe;
  std::vector<ArmPlan> arms;
  std::vector<uint64_t> seeds;

  std::vector<const ArmPlan*> Chosen() const;
};

struct PlanOptions {
  Path out;                   // empty: runs/NAME
  Json run = Json::object();  // flags that go before the recipe's [run]
};

// Throws UsageError for what does not go together.
RunPlan MakePlan(const RecipeFile& file, const PlanOptions& options);

// Chooses these arms alone. The plan stays whole: names of folders and stages, and the recipe that it gives, are those
// of all arms. Throws UsageError for an arm that is not there.
void ChooseArms(RunPlan& plan, const std::vector<std::string>& names, const std::string& where);

// With a comment above every key and table that says what it is.
std::string PlanToToml(const RunPlan& plan);

// A path of a recipe: as it is where it exists from here, otherwise from the folder of a recipe file. Other sources
// than files, and what is nowhere, stay as they are.
std::string ResolveSource(const std::string& text, const std::vector<Path>& recipe_files);

inline constexpr const char* kArmEncoder = "arm:";

// The arm whose encoder an `encoder` key takes (`arm:NAME`, of the first seed), null where it names a file or folder.
// Throws UsageError for an arm that is not there.
const ArmPlan* EncoderArm(const RunPlan& plan, const std::string& text);

Path ArmFolder(const RunPlan& plan, const ArmPlan& arm, uint64_t seed);    // with pretrain/ and eval/
Path EncoderFile(const RunPlan& plan, const ArmPlan& arm, uint64_t seed);  // that an arm's pretraining ends with
Path EncoderPath(const RunPlan& plan, const std::string& text);            // of an `encoder` key, made or not
Path QualityModelFile(const RunPlan& plan,
                      const std::string& encoder);  // the foreground model fitted with that encoder

// An arm's pretraining with all that the run makes for it filled in, whether it has been made or not: what `genview
// run` trains, and `genview pretrain`.
PretrainConfig PretrainConfigOf(const RunPlan& plan, const ArmPlan& arm, uint64_t seed);
// The same of the generator that the run trains, and the text of the key that says which encoder sees for it.
GeneratorConfig GeneratorConfigOf(const RunPlan& plan, const Path& out);
std::string GeneratorEncoder(const RunPlan& plan);

}  // namespace genview
