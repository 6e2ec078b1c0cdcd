#include "cli/recipe_file.h"

#include <gtest/gtest.h>

namespace genview {
namespace {

struct Inner {
  double gamma = 1;
  std::string source = "augment";
};
template <class Visit>
void VisitFields(Inner& c, Visit&& visit) {
  visit("gamma", c.gamma, Range<double>{0, 10}, "sharpness");
  visit("source", c.source, Any{}, "text");
}
struct Small {
  int64_t epochs = 3;
  std::vector<int64_t> levels = {0};
  Inner pair;
};
template <class Visit>
void VisitFields(Small& c, Visit&& visit) {
  visit("epochs", c.epochs, Range<int64_t>{1, 100}, "passes");
  visit("levels", c.levels, Any{}, "levels");
  visit("pair", c.pair, Section{}, "pairs");
}

Path Write(const std::string& name, const std::string& text) {
  const Path path = Path(testing::TempDir()) / "recipes" / name;
  WriteFile(path, text);
  return path;
}

ErrorText Complaint(const std::string& toml, const std::vector<std::string>& set = {}) {
  try {
    (void)ReadRecipeFile<Small>(Write("complaint.toml", toml), set);
  } catch (const UsageError& error) {
    return error.text();
  }
  return {};
}

TEST(RecipeFile, ExtendsIsMergedTableByTable) {
  Write("base.toml", "epochs = 7\n[pair]\ngamma = 2\nsource = \"x\"\n[[arms]]\nname = \"old\"\n");
  const RecipeFile file =
      ReadRecipeFile<Small>(Write("child.toml", "extends = \"base.toml\"\n[pair]\ngamma = 3\n"), {"levels=1,2"});
  const auto config = RecipeOf<Small>(file.values);
  EXPECT_EQ(config.epochs, 7);
  EXPECT_EQ(config.pair.gamma, 3);
  EXPECT_EQ(config.pair.source, "x");
  EXPECT_EQ(config.levels, (std::vector<int64_t>{1, 2}));
  ASSERT_EQ(file.arms.size(), 1u);
  EXPECT_EQ(file.files.size(), 2u);
  EXPECT_EQ(file.files[0].filename(), "child.toml");
}

TEST(RecipeFile, ArmsTakeDottedAndNestedKeys) {
  const RecipeFile file = ReadRecipeFile<Small>(Write("arms.toml",
                                                      "[[arms]]\nname = \"a\"\n[[arms]]\nname = \"b\"\nset = { "
                                                      "\"pair.gamma\" = 2, pair.source = \"y\", epochs = 9 }\n"));
  ASSERT_EQ(file.arms.size(), 2u);
  const auto config = RecipeOf<Small>(WithSet(file.values, file.arms[1].set));
  EXPECT_EQ(config.pair.gamma, 2);
  EXPECT_EQ(config.pair.source, "y");
  EXPECT_EQ(config.epochs, 9);
}

TEST(RecipeFile, ErrorsNameFileLineAndNearestKey) {
  EXPECT_EQ(Complaint("epoch = 3\n").next, "did you mean `epochs`?");
  EXPECT_NE(Complaint("\nepoch = 3\n").where.find("complaint.toml, line 2"), std::string::npos);
  const ErrorText arm = Complaint("[[arms]]\nname = \"a\"\n[arms.set]\npair.gama = 1\n");
  EXPECT_EQ(arm.next, "did you mean `gamma`?");
  EXPECT_NE(arm.where.find("line 4"), std::string::npos) << arm.where;
  EXPECT_NE(Complaint("[[arms]]\nname = \"a\"\nsett = {}\n").next.find("`set`"), std::string::npos);
  EXPECT_NE(Complaint("[[arms]]\nname = \"a\"\n[[arms]]\nname = \"a\"\n").what.find("two arms"), std::string::npos);
  EXPECT_NE(Complaint("[[arms]]\nname = \"../x\"\n").what.find("cannot be the name"), std::string::npos);
  EXPECT_NE(Complaint("[[arms]]\nname = \"views\"\n").what.find("keeps its own files"), std::string::npos);
  EXPECT_NE(Complaint("arms = 3\n").what.find("list of tables"), std::string::npos);
}

TEST(RecipeFile, CirclesAndMissingBasesAreRefused) {
  Write("circle.toml", "extends = \"circle.toml\"\n");
  EXPECT_THROW(ReadRecipeFile<Small>(Path(testing::TempDir()) / "recipes/circle.toml"), UsageError);
  EXPECT_NE(Complaint("extends = \"gone.toml\"\n").where.find("named by `extends`"), std::string::npos);
  EXPECT_THROW(ReadRecipeFile<Small>("/no/such.toml"), UsageError);
}

TEST(Assignments, AreTypedAndChecked) {
  EXPECT_EQ(Complaint("", {"epoch=3"}).next, "did you mean `epochs`?");
  EXPECT_EQ(Complaint("", {"gamma=3"}).next, "did you mean `pair.gamma`?");
  EXPECT_NE(Complaint("", {"epochs"}).what.find("KEY=VALUE"), std::string::npos);
  EXPECT_NE(Complaint("", {"epochs=1000"}).what.find("allowed are 1 to 100"), std::string::npos);
  const auto fields = DescribeFields<Small>();
  EXPECT_EQ(ReadAssignment("pair.source=\"a b\"", fields)["pair"]["source"], "a b");
  EXPECT_EQ(ReadAssignment("levels=[0, 200]", fields)["levels"], Json({0, 200}));
}

TEST(Assignments, GoBeforeWhatArmsSet) {
  const Path file =
      Write("arms.toml", "[[arms]]\nname = \"a\"\nset = { epochs = 5, pair.gamma = 2 }\n[[arms]]\nname = \"b\"\n");
  const RecipeFile recipe = ReadRecipeFile<Small>(file, {"epochs=7", "pair.source=x"});
  EXPECT_EQ(recipe.arms[0].set, Json({{"epochs", 7}, {"pair", {{"gamma", 2}}}}));
  EXPECT_EQ(recipe.arms[1].set, Json::object());
  EXPECT_EQ(RecipeOf<Small>(WithSet(recipe.values, recipe.arms[0].set)).epochs, 7);
}

TEST(Assignments, TakeATableAsRecipesWriteIt) {
  const RecipeFile file =
      ReadRecipeFile<Small>(Write("table.toml", "[pair]\ngamma = 3\n"), {"pair={ source = \"x, y\" }"});
  EXPECT_EQ(file.values["pair"], Json({{"gamma", 3}, {"source", "x, y"}}));  // keys that it does not name stay
  const ErrorText unknown = Complaint("", {"pair={gama = 2}"}), number = Complaint("", {"pair=3"}),
                  bare = Complaint("", {"pair={source=x}"});
  EXPECT_EQ(unknown.next, "did you mean `gamma`?");
  EXPECT_NE(unknown.where.find("--set pair"), std::string::npos);
  EXPECT_EQ(number.what, "`pair` is a table, which `3` is not");
  EXPECT_NE(number.next.find("`pair.gamma=...`"), std::string::npos) << number.next;
  EXPECT_NE(bare.what.find("is a table"), std::string::npos);
}

}  // namespace
}  // namespace genview
