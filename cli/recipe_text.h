// What every key and table of a recipe means, for the comments of a resolved recipe. docs/recipe.md is made of them
// (tools/recipe_page.py).
#pragma once

#include <map>
#include <string>

namespace genview {

// "pretrain.epochs" -> "passes over the pictures [at least 1; default 200]", in lines of ordinary length.
std::map<std::string, std::string> RecipeComments();

}  // namespace genview
