#include "genview/report/run_record.h"

#include <algorithm>
#include <set>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/base/toml.h"

namespace genview {
namespace {

bool IsFile(const Path& path) {
  std::error_code code;
  return std::filesystem::is_regular_file(path, code);
}

// A picture named by a file of the run; names that lead out of its folder are left out.
Path Inside(const Path& folder, const Json& row, const char* key, const std::string& where) {
  const std::string name = JsonString(row, key, "", where);
  const Path path(name);
  if (name.empty() || path.is_absolute()) return {};
  for (const Path& part : path) {
    if (part == "..") return {};
  }
  return folder / path;
}

const Json& Member(const Json& object, const char* key) {
  static const Json nothing;
  if (!object.is_object()) return nothing;
  const auto found = object.find(key);
  return found == object.end() ? nothing : *found;
}

std::string ValueText(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

void Flatten(const Json& object, const std::string& prefix, std::map<std::string, std::string>& settings) {
  for (const auto& [key, value] : object.items()) {
    const std::string name = prefix.empty() ? key : Format("{}.{}", prefix, key);
    if (value.is_object()) Flatten(value, name, settings);
    else settings[name] = ValueText(value);
  }
}

void ReadPairs(const Path& folder, const Json& gallery, const std::string& where, RunRecord& run) {
  const Json& rows = Member(gallery, "pairs");
  if (!rows.is_array()) return;
  run.pairs_arm = JsonString(gallery, "arm", "", where);
  for (const Json& row : rows) {
    run.pairs.push_back({JsonString(row, "id", "", where), JsonDouble(row, "weight", 0, where),
                         Inside(folder, row, "view1", where), Inside(folder, row, "map1", where),
                         Inside(folder, row, "view2", where), Inside(folder, row, "map2", where)});
  }
  std::stable_sort(run.pairs.begin(), run.pairs.end(),
                   [](const PairRow& a, const PairRow& b) { return a.weight > b.weight; });
}

void ReadGallery(const Path& folder, RunRecord& run) {
  const Path file = folder / "gallery.json";
  if (!IsFile(file)) return;
  const Json json = ReadJson(file);
  const std::string where = file.string();
  const Json &images = Member(json, "images"), &levels = Member(json, "levels");
  if (images.is_array()) {
    for (const Json& row : images) {
      run.gallery.push_back({JsonString(row, "id", "", where), JsonDouble(row, "ratio", 0, where),
                             JsonInt(row, "level", 0, where), Inside(folder, row, "image", where),
                             Inside(folder, row, "mask", where), Inside(folder, row, "view", where)});
    }
  }
  std::stable_sort(run.gallery.begin(), run.gallery.end(),
                   [](const auto& a, const auto& b) { return a.ratio < b.ratio; });
  run.levels.id = JsonString(levels, "id", "", where);
  run.levels.image = Inside(folder, levels, "image", where);
  if (const Json& views = Member(levels, "views"); views.is_array()) {
    for (const Json& row : views)
      run.levels.views[JsonInt(row, "level", 0, where)].push_back(Inside(folder, row, "view", where));
  }
  ReadPairs(folder, json, where, run);
}

std::vector<LikenessRecord> ReadLikenessRows(const Json& rows, const std::string& where) {
  std::vector<LikenessRecord> result;
  if (!rows.is_array()) return result;
  for (const Json& row : rows) {
    result.push_back({JsonInt(row, "level", 0, where), JsonDouble(row, "from", 0, where),
                      JsonDouble(row, "to", 1, where), JsonInt(row, "views", 0, where),
                      JsonDouble(row, "cosine", 0, where), JsonDouble(row, "kept", 0, where),
                      JsonDouble(row, "low", 0, where), JsonDouble(row, "high", 0, where)});
  }
  return result;
}

void ReadLikeness(const Path& file, RunRecord& run) {
  if (!IsFile(file)) return;
  const Json json = ReadJson(file);
  run.likeness = {JsonInt(json, "pictures", 0, file.string()), JsonDouble(json, "real_kept", -1, file.string()),
                  ReadLikenessRows(Member(json, "levels"), file.string()),
                  ReadLikenessRows(Member(json, "bins"), file.string())};
}

void ReadTruth(const Path& file, RunRecord& run) {
  if (!IsFile(file)) return;
  const Json json = ReadJson(file);
  run.truth = {JsonInt(json, "images_with_truth", 0, file.string()),
               JsonDouble(json, "mean_overlap_with_truth", 0, file.string()),
               JsonDouble(json, "spearman_with_truth", 0, file.string())};
}

std::vector<StageRecord> ReadStages(const Path& folder) {
  std::vector<std::pair<int64_t, StageRecord>> stages;
  std::error_code code;
  for (std::filesystem::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    if (it->path().extension() != ".json" || it->path().filename().string().starts_with(".")) continue;
    const std::string where = it->path().string();
    Json json;
    try {
      json = ReadJson(it->path());
    } catch (const Error&) {
      continue;  // that a power cut damaged; the run takes it as none, too
    }
    StageRecord stage{JsonString(json, "stage", "", where),
                      JsonString(json, "unit", "", where),
                      JsonDouble(json, "seconds", 0, where),
                      static_cast<uint64_t>(std::max<int64_t>(0, JsonInt(json, "peak_memory_bytes", 0, where))),
                      JsonInt(json, "asked", 0, where),
                      JsonInt(json, "made", 0, where),
                      JsonInt(json, "failed", 0, where)};
    stages.emplace_back(JsonInt(json, "order", 0, where), std::move(stage));
  }
  std::sort(stages.begin(), stages.end(), [](const auto& a, const auto& b) {
    return std::tie(a.first, a.second.name) < std::tie(b.first, b.second.name);
  });
  std::vector<StageRecord> result;
  for (auto& [order, stage] : stages) result.push_back(std::move(stage));
  return result;
}

void ReadLeftOut(const std::string& stage, const Path& file, RunRecord& run) {
  if (!IsFile(file)) return;
  LeftOut left_out{stage, {}};
  const auto lines = ReadLines(file);
  for (size_t i = 1; i < lines.size(); ++i) {
    const auto cells = Split(lines[i], '\t');
    left_out.rows.emplace_back(cells[0], cells.size() > 1 ? cells[1] : "");
  }
  if (!left_out.rows.empty()) run.left_out.push_back(std::move(left_out));
}

WeightRecord ReadWeight(const Json& json, const std::string& where) {
  if (!json.is_object()) return {};
  return {JsonInt(json, "pairs", 0, where), JsonDouble(json, "mean", 0, where)};
}

void AddWeight(const WeightRecord& weight, WeightRecord& sum) {
  if (weight.pairs <= 0) return;
  const auto before = static_cast<double>(sum.pairs), more = static_cast<double>(weight.pairs);
  sum.mean = (sum.mean * before + weight.mean * more) / (before + more);
  sum.pairs += weight.pairs;
}

void AddWeights(const WeightsRecord& weights, WeightsRecord& sum) {
  AddWeight(weights.augmented, sum.augmented);
  AddWeight(weights.generated, sum.generated);
  for (const auto& [level, weight] : weights.levels) AddWeight(weight, sum.levels[level]);
}

void ReadTrainingSummary(const Path& file, TrainingRecord& training) {
  if (!IsFile(file)) return;
  const Json json = ReadJson(file);
  const std::string where = file.string();
  training.trained = !JsonString(json, "encoder", "", where).empty();
  training.collapsed = JsonBool(json, "collapsed", false, where);
  const Json &weights = Member(json, "weights"), &levels = Member(weights, "levels"),
             &agreement = Member(json, "agreement");
  training.weights.augmented = ReadWeight(Member(weights, "augmented"), where);
  training.weights.generated = ReadWeight(Member(weights, "generated"), where);
  if (levels.is_object()) {
    for (const auto& [name, weight] : levels.items()) {
      if (int64_t level = 0; ParseInt(name, level)) training.weights.levels[level] = ReadWeight(weight, where);
    }
  }
  if (agreement.is_object())
    training.agreement = {JsonInt(agreement, "pairs", 0, where), JsonDouble(agreement, "spearman", 0, where)};
}

void ReadArms(RunRecord& run) {
  const Json& arms = Member(run.recipe, "arms");
  if (!arms.is_array()) return;
  for (const Json& json : arms) {
    ArmRecord arm{.name = JsonString(json, "name", "", run.folder.string()), .settings = {}, .trainings = {}};
    if (arm.name.empty() || arm.name.find('/') != std::string::npos || arm.name.starts_with(".")) continue;
    if (const Json& set = Member(json, "set"); set.is_object()) Flatten(set, "", arm.settings);
    ReadLeftOut(Format("views {}", arm.name), run.folder / Format("views-{}", arm.name) / "skipped.tsv", run);
    for (const uint64_t seed : run.seeds) {
      const Path folder = SeedFolder(run.folder, arm.name, run.seeds.size() > 1, seed) / "pretrain";
      TrainingRecord training{.name = run.seeds.size() > 1 ? Format("{}, seed {}", arm.name, seed) : arm.name,
                              .log = folder / "log.jsonl",
                              .encoder = folder / "encoder.safetensors"};
      ReadTrainingSummary(folder / "summary.json", training);
      ReadLeftOut(Format("{}, pretrain", training.name), folder / "skipped.tsv", run);
      ReadLeftOut(Format("{}, eval", training.name), folder.parent_path() / "eval" / "skipped.tsv", run);
      AddWeights(training.weights, arm.weights);
      arm.trainings.push_back(std::move(training));
    }
    run.arms.push_back(std::move(arm));
  }
}

// The stages of the run as its recipe is now: the book may know arms and seeds that it no longer has.
void ReadStagesOfArms(RunRecord& run) {
  struct Owner {
    std::string arm;
    bool training = false;
  };
  std::map<std::string, Owner> owners;  // by stage
  std::vector<std::string> of_seeds = {"pretrain"};
  for (const auto& [kind, name] : kEvals) of_seeds.push_back(Format("eval {}", kind));
  const std::vector<std::string> of_arms = {"views", "foreground fit for"};  // others may share them
  for (const ArmRecord& arm : run.arms) {
    for (const std::string& stage : of_arms) owners[Format("{} {}", stage, arm.name)] = {};
    for (const std::string& stage : of_seeds) {
      for (const uint64_t seed : run.seeds)
        owners[SeedStage(stage, arm.name, run.seeds.size() > 1, seed)] = {arm.name, stage == "pretrain"};
    }
  }
  const auto begins = [](const std::string& name, const std::vector<std::string>& stages) {
    return std::any_of(stages.begin(), stages.end(), [&](const auto& stage) { return name.starts_with(stage + " "); });
  };
  for (StageRecord& stage : ReadStages(run.folder / "state")) {
    if (const auto owner = owners.find(stage.name); owner != owners.end()) {
      stage.arm = owner->second.arm;
      stage.training = owner->second.training;
    } else if (begins(stage.name, of_seeds) || begins(stage.name, of_arms)) {
      continue;  // of one that is gone
    }
    run.stages.push_back(std::move(stage));
  }
}

}  // namespace

RunRecord ReadRun(const Path& folder) {
  RunRecord run;
  run.folder = folder;
  const Path recipe = folder / "recipe.toml";
  if (!IsFile(recipe)) {
    throw Error({.what = "this folder is no run: it has no recipe.toml",
                 .where = folder.string(),
                 .next = "give the folder that `genview run` wrote, such as runs/demo"});
  }
  run.recipe_text = ReadFile(recipe, uint64_t{4} << 20);
  run.recipe = ParseToml(run.recipe_text, recipe.string()).values;
  run.name = JsonString(run.recipe, "name", "", recipe.string());
  Flatten(run.recipe, "", run.settings);
  if (const Json& seeds = Member(run.recipe, "seeds"); seeds.is_array()) {
    for (const Json& seed : seeds) {
      if (seed.is_number_integer()) run.seeds.push_back(seed.get<uint64_t>());
    }
  }
  if (run.seeds.empty()) {
    const Json& seed = Member(Member(run.recipe, "run"), "seed");
    run.seeds = {seed.is_number_integer() ? seed.get<uint64_t>() : 0};
  }
  if (run.name.empty()) run.name = std::filesystem::weakly_canonical(folder).filename().string();
  if (IsFile(folder / "environment.json")) run.environment = ReadJson(folder / "environment.json");
  if (IsFile(folder / "foreground" / "ratios.tsv"))
    run.ratios = ReadForegroundTable(folder / "foreground" / "ratios.tsv");
  // The score's list has all pictures; without a score that of the fit has the sample's.
  ReadLeftOut("foreground", folder / "foreground" / (run.ratios.empty() ? "model-skipped.tsv" : "skipped.tsv"), run);
  ReadLeftOut("views", folder / "views" / "skipped.tsv", run);
  ReadTruth(folder / "foreground" / "ratios.json", run);
  ReadGallery(folder / "gallery", run);
  ReadLikeness(folder / "gallery" / "likeness.json", run);
  ReadArms(run);
  std::vector<std::string> names;
  for (const ArmRecord& arm : run.arms) names.push_back(arm.name);
  run.scores = CollectScores(folder, names, run.seeds);
  ReadStagesOfArms(run);
  return run;
}

std::string SettingOf(const RunRecord& run, const ArmRecord& arm, const std::string& key) {
  for (const auto* settings : {&arm.settings, &run.settings}) {
    if (const auto found = settings->find(key); found != settings->end()) return found->second;
  }
  return "";
}

std::vector<std::string> DifferingKeys(const RunRecord& run) {
  std::set<std::string> keys;
  for (const ArmRecord& arm : run.arms) {
    for (const auto& [key, value] : arm.settings) keys.insert(key);
  }
  std::erase_if(keys, [&](const std::string& key) {
    return std::all_of(run.arms.begin(), run.arms.end(), [&](const ArmRecord& arm) {
      return SettingOf(run, arm, key) == SettingOf(run, run.arms[0], key);
    });
  });
  return {keys.begin(), keys.end()};
}

}  // namespace genview
