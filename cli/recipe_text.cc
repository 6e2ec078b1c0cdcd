#include "cli/recipe_text.h"

#include "cli/help.h"
#include "cli/recipe.h"

namespace genview {
namespace {

// What `genview run` puts where a key is empty.
constexpr std::pair<const char*, const char*> kFilledIn[] = {
    {"views.generator", "empty or train = one that the run trains, as [generator] says"},
    {"generator.images", "empty = data.train"},
    {"generator.encoder", "empty = foreground.encoder"},
    {"pretrain.pair.views", "empty = the run's own, made as [views] says"},
    {"pretrain.crop.masks", "empty = the run's own"},
    {"pretrain.quality.encoder", "empty = foreground.encoder"},
    {"pretrain.quality.foreground", "empty = the run's own"},
};

void Add(std::map<std::string, std::string>& comments, const std::string& name, const std::string& text) {
  std::string& lines = comments[name];
  AppendWrapped(lines, 0, 0, text);
  lines.pop_back();  // the last line's end
}

template <class Config>
void AddTables(const Config& config, const std::string& prefix, std::map<std::string, std::string>& comments) {
  VisitFields(const_cast<Config&>(config), [&](const char* name, auto& field, auto, const char* help) {
    if constexpr (fields_detail::HasFields<std::remove_cvref_t<decltype(field)>>) {
      Add(comments, prefix + name, help);
      AddTables(field, prefix + name + ".", comments);
    }
  });
}

}  // namespace

std::map<std::string, std::string> RecipeComments() {
  std::map<std::string, std::string> comments;
  AddTables(Recipe{}, "", comments);
  for (FieldInfo& field : DescribeFields<Recipe>()) {
    for (const auto& [name, text] : kFilledIn) {
      if (field.name == name) field.help += Format("; {}", text);
    }
    if (field.rule == "required") field.rule = "";  // by the stage, not by the recipe
    Add(comments, field.name, ExplainWithChoices(field));
  }
  return comments;
}

}  // namespace genview
