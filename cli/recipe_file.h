// Recipe files: TOML whose keys are the fields of a config, with `extends`, arms, and assignments from the command
// line. Every file is checked by itself, so that an error names the file and line it is in.
//
//   RecipeFile file = ReadRecipeFile<Recipe>("recipes/demo.toml", {"pretrain.epochs=3"});
//   Recipe base = RecipeOf<Recipe>(file.values);
//   Recipe arm = RecipeOf<Recipe>(WithSet(file.values, file.arms[1].set));
#pragma once

#include <string>
#include <vector>

#include "genview/base/fields.h"
#include "genview/base/toml.h"

namespace genview {

struct Arm {
  std::string name;
  Json set = Json::object();  // nested: {"pretrain": {"pair": {"source": "generated"}}}
};

struct RecipeFile {
  Json values = Json::object();  // without `arms` and `extends`
  std::vector<Arm> arms;
  std::vector<Path> files;  // that it was read from, the first being the one that was named
};

// The file and those it extends, the outermost base first; members of later ones win, and their arms replace.
std::vector<TomlDocument> ReadRecipeChain(const Path& file);

// Takes `extends` and `arms` out of a document. Dotted keys in `set` ("pretrain.epochs" = 3) are the same as nested
// ones.
std::vector<Arm> TakeArms(TomlDocument& document);

// "views.levels=[0, 200]" as nested Json; throws UsageError that names the nearest key.
Json ReadAssignment(const std::string& assignment, const std::vector<FieldInfo>& fields);

// Gives `set` the values of those of its members that `values` has, too.
void Overrule(Json& set, const Json& values);

Json WithSet(Json values, const Json& set);

template <class Config>
Config RecipeOf(const Json& values, const FieldSource& source = {.file = "recipe", .prefix = "", .lines = nullptr}) {
  Config config;
  ReadFields(config, values, source);
  return config;
}

// `assignments` go before the files, and before what their arms set.
template <class Config>
RecipeFile ReadRecipeFile(const Path& file, const std::vector<std::string>& assignments = {}) {
  RecipeFile recipe;
  for (TomlDocument& document : ReadRecipeChain(file)) {
    recipe.files.insert(recipe.files.begin(), document.file);
    std::vector<Arm> arms = TakeArms(document);
    (void)RecipeOf<Config>(document.values, {document.file, "", &document.lines});
    for (size_t i = 0; i < arms.size(); ++i)
      (void)RecipeOf<Config>(arms[i].set, {document.file, Format("arms[{}].set", i), &document.lines});
    MergeJson(recipe.values, document.values);
    if (!arms.empty()) recipe.arms = std::move(arms);
  }
  const auto fields = DescribeFields<Config>();
  for (const auto& assignment : assignments) {
    const Json values = ReadAssignment(assignment, fields);
    (void)RecipeOf<Config>(values, {.file = Format("--set {}", assignment), .prefix = "", .lines = nullptr});
    MergeJson(recipe.values, values);
    for (Arm& arm : recipe.arms) Overrule(arm.set, values);
  }
  return recipe;
}

}  // namespace genview
