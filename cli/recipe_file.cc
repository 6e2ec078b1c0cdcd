#include "cli/recipe_file.h"

#include <algorithm>
#include <set>

#include "genview/base/error.h"

namespace genview {
namespace {

constexpr size_t kLongestChain = 8;

void TakeExtends(TomlDocument& document, Path* base) {
  const auto found = document.values.find("extends");
  if (found == document.values.end()) return;
  if (!found->is_string()) {
    throw UsageError({.what = "`extends` is not a text",
                      .where = FieldSource{document.file, "", &document.lines}.Where("extends"),
                      .next = "name one recipe file"});
  }
  *base = Path(document.file).parent_path() / found->get<std::string>();
  document.values.erase("extends");
}

// {"pretrain.epochs": 3} and {"pretrain": {"epochs": 3}} say the same.
Json Nested(const Json& table) {
  Json result = Json::object();
  for (const auto& [key, value] : table.items()) {
    Json inner = value.is_object() ? Nested(value) : value;
    const auto parts = Split(key, '.');
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
      Json object = Json::object();
      object[*part] = std::move(inner);
      inner = std::move(object);
    }
    MergeJson(result, inner);
  }
  return result;
}

// Arms become folders beside those of the stages.
void CheckArmName(const std::string& name, const std::string& where) {
  static const std::set<std::string> kTaken = {"foreground",  "views",        "generator",   "gallery",         "state",
                                               "recipe.toml", "results.json", "report.html", "environment.json"};
  const bool plain = !name.empty() && name.size() <= 64 && name[0] != '.' && name[0] != '-' &&
                     std::all_of(name.begin(), name.end(), [](char c) {
                       return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                              c == '_' || c == '.' || c == '+';
                     });
  if (plain && !kTaken.count(name) && !name.starts_with("views-")) return;
  throw UsageError({.what = plain ? Format("an arm cannot be called `{}`: the run keeps its own files there", name)
                                  : Format("`{}` cannot be the name of an arm", name),
                    .where = where,
                    .next = "use letters, digits, `-`, `_`, `+` and `.`"});
}

}  // namespace

std::vector<TomlDocument> ReadRecipeChain(const Path& file) {
  std::vector<TomlDocument> chain;
  std::set<Path> seen;
  for (Path next = file; !next.empty();) {
    std::error_code code;
    if (!std::filesystem::is_regular_file(next, code)) {
      throw UsageError({.what = "there is no such recipe",
                        .where = chain.empty()
                                     ? next.string()
                                     : Format("{}, named by `extends` in {}", next.string(), chain.back().file),
                        .next = "check the path; ready recipes are in the folder recipes"});
    }
    if (!seen.insert(std::filesystem::weakly_canonical(next)).second || chain.size() == kLongestChain) {
      throw UsageError({.what = "the recipes extend each other in a circle, or too deeply",
                        .where = next.string(),
                        .next = "take out one `extends`"});
    }
    chain.push_back(ReadToml(next));
    Path base;
    TakeExtends(chain.back(), &base);
    next = base.lexically_normal();
  }
  std::reverse(chain.begin(), chain.end());
  return chain;
}

std::vector<Arm> TakeArms(TomlDocument& document) {
  std::vector<Arm> arms;
  const auto found = document.values.find("arms");
  if (found == document.values.end()) return arms;
  const FieldSource top{document.file, "", &document.lines};
  if (!found->is_array()) {
    throw UsageError({.what = "`arms` is not a list of tables",
                      .where = top.Where("arms"),
                      .next = "write each arm as [[arms]] with name and set"});
  }
  std::set<std::string> names;
  for (size_t i = 0; i < found->size(); ++i) {
    const Json& json = (*found)[i];
    const FieldSource source = top.Child(Format("arms[{}]", i));
    if (!json.is_object()) {
      throw UsageError({.what = "an arm is not a table",
                        .where = source.Where("name"),
                        .next = "write each arm as [[arms]] with name and set"});
    }
    for (const auto& [key, value] : json.items()) {
      if (key != "name" && key != "set") fields_detail::ThrowUnknownKey(key, {"name", "set"}, source);
    }
    Arm arm;
    if (const auto name = json.find("name"); name != json.end() && name->is_string())
      arm.name = name->get<std::string>();
    CheckArmName(arm.name, source.Where("name"));
    if (!names.insert(arm.name).second) {
      throw UsageError({.what = Format("two arms are called `{}`", arm.name),
                        .where = source.Where("name"),
                        .next = "give each arm a name of its own"});
    }
    if (const auto set = json.find("set"); set != json.end()) {
      if (!set->is_object()) fields_detail::ThrowWrongType(*set, "table", source, "set");
      arm.set = Nested(*set);
    }
    arms.push_back(std::move(arm));
  }
  document.values.erase("arms");
  return arms;
}

// `pretrain.pair={source = "generated"}`, as recipes write it.
static Json TableFromText(const std::string& key, const std::string& text, const std::string& where,
                          const std::string& example) {
  Json table;
  try {
    table = ParseToml("value = " + text, where).values["value"];
  } catch (const UsageError&) {
  }
  if (table.is_object()) return Nested({{key, table}});
  throw UsageError(
      {.what = Format("`{}` is a table, which `{}` is not", key, Printable(text, 80)),
       .where = where,
       .next = Format("set one of its keys, `{0}.{1}=...`, or several as TOML has them: '{0}={{{1} = ...}}'", key,
                      example)});
}

Json ReadAssignment(const std::string& assignment, const std::vector<FieldInfo>& fields) {
  const size_t equals = assignment.find('=');
  const std::string where = Format("{}, --set {}", kCommandLine, assignment);
  if (equals == std::string::npos) {
    throw UsageError({.what = "--set takes KEY=VALUE", .where = where, .next = "for example --set pretrain.epochs=10"});
  }
  const std::string key(Trim(assignment.substr(0, equals))), text(Trim(assignment.substr(equals + 1)));
  std::vector<std::string> known;
  for (const FieldInfo& field : fields) {
    if (field.name == key) {
      // Quotes around a text are the shell's or TOML's, never part of the value.
      const bool quoted =
          text.size() >= 2 && (text.front() == '"' || text.front() == '\'') && text.front() == text.back();
      return AssignmentToJson(key, quoted ? text.substr(1, text.size() - 2) : text, field.type);
    }
    if (field.name.starts_with(key + ".")) return TableFromText(key, text, where, field.name.substr(key.size() + 1));
    known.push_back(field.name);
  }
  std::string nearest = NearestName(key, known);
  // A key that is right but for its table: `epochs` for `pretrain.epochs`.
  for (const auto& name : known) {
    if (name.ends_with("." + key)) nearest = name;
  }
  throw UsageError({.what = Format("a recipe has no key `{}`", key),
                    .where = where,
                    .next = nearest.empty() ? "see `genview run --dry-run RECIPE`, which prints every key"
                                            : Format("did you mean `{}`?", nearest)});
}

void Overrule(Json& set, const Json& values) {
  for (const auto& [key, value] : values.items()) {
    const auto found = set.find(key);
    if (found == set.end()) continue;
    if (found->is_object() && value.is_object()) Overrule(*found, value);
    else *found = value;
  }
}

Json WithSet(Json values, const Json& set) {
  MergeJson(values, set);
  return values;
}

}  // namespace genview
