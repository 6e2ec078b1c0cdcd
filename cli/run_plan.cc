#include "cli/run_plan.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>

#include "cli/recipe_text.h"
#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/models/backbone.h"
#include "genview/report/scores.h"

namespace genview {
namespace {

// Keys whose values are files or folders that are read.
constexpr const char* kSources[] = {
    "data.train",          "data.test",           "foreground.encoder",       "foreground.component",
    "views.generator",     "generator.images",    "generator.encoder",        "pretrain.init",
    "pretrain.pair.views", "pretrain.crop.masks", "pretrain.quality.encoder", "pretrain.quality.foreground",
    "eval.finetune.list"};

Json* Find(Json& values, std::string_view dotted) {
  Json* place = &values;
  for (const auto& part : Split(dotted, '.')) {
    if (!place->is_object() || !place->contains(part)) return nullptr;
    place = &(*place)[part];
  }
  return place;
}

void ResolveSources(Json& values, const std::vector<Path>& files) {
  for (const char* key : kSources) {
    Json* value = Find(values, key);
    if (value == nullptr || !value->is_string()) continue;
    const bool word =
        std::string_view(key) == "views.generator" && *value == "train";  // even where a folder is so called
    if (!word) *value = ResolveSource(value->get<std::string>(), files);
  }
}

// Arms are compared on the same pictures and the same foreground, or their scores would not be comparable.
void CheckArm(const Arm& arm, const Path& file) {
  for (const auto& [key, value] : arm.set.items()) {
    if (key == "pretrain" || key == "views" || key == "eval") continue;
    throw UsageError(
        {.what = Format("arm `{}` sets `{}`, which all arms share", arm.name, key),
         .where = file.string(),
         .next = Format("set it once, at the top of the recipe; an arm may set pretrain.*, views.* and eval.*")});
  }
}

// What a stage would refuse when it comes to it, said before the first one begins.
void CheckValues(const RunPlan& plan, const ArmPlan& arm, const std::string& file) {
  CheckBackboneName(arm.recipe.pretrain.config.backbone,
                    Format("{}, arm `{}`, key `pretrain.backbone`", file, arm.name));
  const auto check = [&](const char* key, bool empty) {
    if (empty)
      throw UsageError({.what = Format("`{}` is empty", key),
                        .where = Format("{}, arm `{}`", file, arm.name),
                        .next = "give at least one value"});
  };
  check("views.levels", arm.recipe.views.config.levels.empty());
  check("eval.linear.lrs", arm.recipe.eval.linear.enabled && arm.recipe.eval.linear.config.lrs.empty());
  check("eval.fewshot.shots", arm.recipe.eval.fewshot.enabled && arm.recipe.eval.fewshot.config.shots.empty());
  // An encoder may still come from a recipe that extends this one, the precision from the command.
  PretrainConfig config = PretrainConfigOf(plan, arm, plan.seeds.front());
  if (config.quality.encoder.empty()) config.quality.encoder = "any";
  config.run.precision = Precision::kAuto;
  try {
    (void)Resolved(config);
    if (arm.recipe.eval.linear.enabled) CheckLinear(arm.recipe.eval.linear.config);
  } catch (const UsageError& error) {
    throw UsageError({.what = error.text().what,
                      .where = Format("{}, arm `{}`, {}", file, arm.name, error.text().where),
                      .next = error.text().next});
  }
}

bool UsesRunViews(const Recipe& recipe) {
  const PairConfig& pair = recipe.pretrain.config.pair;
  return pair.source != PairSource::kAugment && pair.views.empty();
}

// One folder per distinct [views]: `views` for the recipe's own settings, `views-ARM` for the first arm with others.
void NameViews(RunPlan& plan) {
  std::map<std::string, std::string> folders;
  const auto key = [](const Recipe& recipe) { return FieldsToJson(recipe.views).dump(); };
  const std::string base = key(plan.recipe);
  const bool base_used = std::any_of(plan.arms.begin(), plan.arms.end(), [&](const ArmPlan& arm) {
    return UsesRunViews(arm.recipe) && key(arm.recipe) == base;
  });
  if (base_used) folders[base] = "views";
  for (ArmPlan& arm : plan.arms) {
    if (!UsesRunViews(arm.recipe)) continue;
    const std::string name = folders.empty() ? "views" : Format("views-{}", arm.name);
    arm.views = folders.try_emplace(key(arm.recipe), name).first->second;
  }
}

}  // namespace

std::string ResolveSource(const std::string& text, const std::vector<Path>& recipe_files) {
  if (text.empty() || text.starts_with("shapes:") || text.starts_with(kArmEncoder)) return text;
  if (const size_t start = SubsetSourceStart(text); start != std::string::npos) {
    return text.substr(0, start) + ResolveSource(text.substr(start), recipe_files);
  }
  // Of shards `name-{0000..0127}.tar` the folder is looked for.
  const auto exists = [](const Path& path) {
    std::error_code code;
    if (std::filesystem::exists(path, code)) return true;
    return path.filename().string().find('{') != std::string::npos &&
           std::filesystem::is_directory(path.parent_path(), code);
  };
  if (exists(text)) return text;
  for (const Path& file : recipe_files) {
    const Path beside = (file.parent_path() / text).lexically_normal();
    if (exists(beside)) return beside.string();
  }
  return text;
}

// A table of a score that is not made by itself, such as [eval.finetune], asks for it.
static void AskForScores(Json& values) {
  if (!values.contains("eval") || !values["eval"].is_object()) return;
  VisitScores(EvalSection(), [&](const char* kind, const auto& part) {
    if (part.enabled || !values["eval"].contains(kind)) return;
    Json& table = values["eval"][kind];
    if (table.is_object() && !table.contains("enabled")) table["enabled"] = true;
  });
}

RunPlan MakePlan(const RecipeFile& file, const PlanOptions& options) {
  Json values = file.values;
  AskForScores(values);
  ResolveSources(values, file.files);
  if (!options.run.empty()) MergeJson(values["run"], options.run);
  RunPlan plan;
  const std::string recipe_name = file.files.empty() ? "recipe" : file.files.front().string();
  plan.recipe = RecipeOf<Recipe>(values, {.file = recipe_name, .prefix = "", .lines = nullptr});
  if (plan.recipe.name.empty()) plan.recipe.name = file.files.empty() ? "run" : file.files.front().stem().string();
  plan.name = plan.recipe.name;
  if (plan.name.find('/') != std::string::npos || plan.name.starts_with(".")) {
    throw UsageError({.what = Format("`{}` cannot be the name of a run", plan.name),
                      .where = recipe_name,
                      .next = "use letters, digits and `-`"});
  }
  plan.folder = options.out.empty() ? Path("runs") / plan.name : options.out;
  if (plan.recipe.run.seed > INT64_MAX) {  // TOML has no such number, and the run's own recipe could not be read
    throw UsageError({.what = Format("`run.seed` is {}, allowed are 0 to {}", plan.recipe.run.seed, INT64_MAX),
                      .where = recipe_name,
                      .next = "give a smaller `run.seed` or --seed"});
  }
  for (const int64_t seed : plan.recipe.seeds) plan.seeds.push_back(static_cast<uint64_t>(seed));
  if (plan.seeds.empty()) plan.seeds = {plan.recipe.run.seed};
  if (std::set<uint64_t>(plan.seeds.begin(), plan.seeds.end()).size() < plan.seeds.size()) {
    throw UsageError({.what = "a seed is there twice",
                      .where = Format("{}, key `seeds`", recipe_name),
                      .next = "name each seed once: the same seed gives the same run"});
  }
  values["name"] = plan.name;

  std::vector<Arm> arms = file.arms;
  if (arms.empty()) arms.push_back({"main", Json::object()});
  for (Arm& arm : arms) {
    CheckArm(arm, recipe_name);
    ResolveSources(arm.set, file.files);
    AskForScores(arm.set);
    plan.arms.push_back({arm.name, arm.set, RecipeOf<Recipe>(WithSet(values, arm.set)), ""});
  }
  NameViews(plan);
  for (const ArmPlan& arm : plan.arms) CheckValues(plan, arm, recipe_name);
  return plan;
}

std::vector<const ArmPlan*> RunPlan::Chosen() const {
  std::vector<const ArmPlan*> chosen;
  for (const ArmPlan& arm : arms) {
    if (arm.chosen) chosen.push_back(&arm);
  }
  return chosen;
}

void ChooseArms(RunPlan& plan, const std::vector<std::string>& names, const std::string& where) {
  std::vector<std::string> known;
  for (ArmPlan& arm : plan.arms) {
    known.push_back(arm.name);
    arm.chosen = std::find(names.begin(), names.end(), arm.name) != names.end();
  }
  for (const std::string& name : names) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    throw UsageError(
        {.what = Format("the recipe has no arm `{}`", name), .where = where, .next = SuggestName(name, known)});
  }
  if (!names.empty()) return;
  throw UsageError({.what = "no arm is named", .where = where, .next = SuggestName("", known)});
}

const ArmPlan* EncoderArm(const RunPlan& plan, const std::string& text) {
  if (!text.starts_with(kArmEncoder)) return nullptr;
  const std::string name = text.substr(std::string_view(kArmEncoder).size());
  std::vector<std::string> names;
  for (const ArmPlan& arm : plan.arms) {
    if (arm.name == name) return &arm;
    names.push_back(arm.name);
  }
  throw UsageError({.what = Format("there is no arm `{}` to take the encoder of", name),
                    .where = Format("recipe, `{}`", text),
                    .next = SuggestName(name, names)});
}

Path ArmFolder(const RunPlan& plan, const ArmPlan& arm, uint64_t seed) {
  return SeedFolder(plan.folder, arm.name, plan.seeds.size() > 1, seed);
}

Path EncoderFile(const RunPlan& plan, const ArmPlan& arm, uint64_t seed) {
  return ArmFolder(plan, arm, seed) / "pretrain" / "encoder.safetensors";
}

Path EncoderPath(const RunPlan& plan, const std::string& text) {
  const ArmPlan* arm = EncoderArm(plan, text);
  return arm != nullptr ? EncoderFile(plan, *arm, plan.seeds.front()) : Path(text);
}

Path QualityModelFile(const RunPlan& plan, const std::string& encoder) {
  const bool own = encoder != plan.recipe.foreground.encoder;
  return plan.folder / "foreground" /
         (own ? Format("quality-{}.safetensors", Fingerprint(encoder).substr(0, 8)) : "model.safetensors");
}

PretrainConfig PretrainConfigOf(const RunPlan& plan, const ArmPlan& arm, uint64_t seed) {
  PretrainConfig config = arm.recipe.pretrain.config;
  config.data = plan.recipe.data.train;
  config.out = (ArmFolder(plan, arm, seed) / "pretrain").string();
  config.run = plan.recipe.run;
  config.run.seed = seed;
  if (!arm.views.empty()) config.pair.views = (plan.folder / arm.views).string();
  if (config.crop.rule.draw != CropDraw::kAnywhere && config.crop.masks.empty())
    config.crop.masks = (plan.folder / "foreground" / "masks").string();
  if (!config.quality.enabled) return config;
  const std::string encoder = config.quality.encoder.empty() ? plan.recipe.foreground.encoder : config.quality.encoder;
  if (config.quality.foreground.empty()) config.quality.foreground = QualityModelFile(plan, encoder).string();
  if (config.quality.features == QualityFeatures::kCached &&
      config.quality.cache.empty()) {  // for all arms and seeds of these pictures
    const std::string& views = arm.views.empty() ? config.pair.views : arm.views;
    const std::string of = Format("{} {} {} {}", encoder, config.quality.grid, EnumName(config.pair.source), views);
    config.quality.cache =
        (plan.folder / "foreground" / Format("tokens-{}.safetensors", Fingerprint(of).substr(0, 8))).string();
    config.quality.replace_cache = true;
  }
  config.quality.encoder = EncoderPath(plan, encoder).string();
  return config;
}

std::string GeneratorEncoder(const RunPlan& plan) {
  const Path& own = plan.recipe.generator.config.encoder;
  return own.empty() ? plan.recipe.foreground.encoder : own.string();
}

GeneratorConfig GeneratorConfigOf(const RunPlan& plan, const Path& out) {
  GeneratorConfig config = plan.recipe.generator.config;
  if (config.images.empty()) config.images = plan.recipe.data.train;
  config.encoder = EncoderPath(plan, GeneratorEncoder(plan));
  config.out = out;
  config.run = plan.recipe.run;
  return config;
}

std::string PlanToToml(const RunPlan& plan) {
  Json values = FieldsToJson(plan.recipe);
  Json arms = Json::array();
  for (const ArmPlan& arm : plan.arms) {
    arms.push_back({{"name", arm.name}});
    if (!arm.set.empty()) arms.back()["set"] = arm.set;
  }
  values["arms"] = arms;
  return ToToml(values, RecipeComments());
}

}  // namespace genview
