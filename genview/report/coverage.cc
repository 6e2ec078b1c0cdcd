// What each stage made, left out and took, and how to make the run again.
#include <algorithm>
#include <cctype>
#include <map>

#include "genview/base/text.h"
#include "genview/report/page_parts.h"
#include "genview/report/sections.h"

namespace genview {
namespace {

constexpr size_t kLeftOutShown = 20;

// All of an arm in one: its trainings' and scores' time, the pictures of a training.
StageRecord Together(const std::string& arm, const std::vector<const StageRecord*>& stages) {
  StageRecord sum{.name = arm, .unit = ""};
  for (const StageRecord* stage : stages) {
    sum.seconds += stage->seconds;
    sum.peak_memory = std::max(sum.peak_memory, stage->peak_memory);
    if (!stage->training) continue;
    sum.made = sum.unit.empty() ? stage->made : std::min(sum.made, stage->made);
    sum.asked = std::max(sum.asked, stage->asked);
    sum.failed = std::max(sum.failed, stage->failed);
    sum.unit = stage->unit;
  }
  return sum;
}

// The run's stages, with a line for each arm, in the recipe's order, where the first of them began.
std::vector<StageRecord> Folded(const RunRecord& run) {
  std::vector<StageRecord> lines;
  std::map<std::string, std::vector<const StageRecord*>> of_arms;
  size_t place = 0;
  for (const StageRecord& stage : run.stages) {
    if (stage.arm.empty()) {
      lines.push_back(stage);
      continue;
    }
    if (of_arms.empty()) place = lines.size();
    of_arms[stage.arm].push_back(&stage);
  }
  for (const ArmRecord& arm : run.arms) {
    if (of_arms.contains(arm.name))
      lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(place++), Together(arm.name, of_arms[arm.name]));
  }
  return lines;
}

// `text` as one word of a command line.
std::string ShellWord(const std::string& text) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) ||
           std::string_view("/._-+,=:@").find(c) != std::string_view::npos;
  };
  if (!text.empty() && std::all_of(text.begin(), text.end(), plain)) return text;
  return Format("'{}'", fmt::join(Split(text, '\''), "'\\''"));
}

void WriteStageTable(Html& html, const std::vector<StageRecord>& stages) {
  double longest = 1e-9;
  for (const StageRecord& stage : stages) longest = std::max(longest, stage.seconds);
  OpenTable(html, "stages");
  html.Open("thead").Open("tr");
  html.Line("th", "Stage", {{"scope", "col"}});
  for (const char* name : {"asked", "made", "left out"}) html.Line("th", name, {{"scope", "col"}, {"class", "number"}});
  html.Line("th", "time", {{"scope", "col"}, {"class", "number"}})
      .Open("th", {{"scope", "col"}, {"class", "wide"}})
      .Close();
  html.Line("th", "peak memory", {{"scope", "col"}, {"class", "number"}}).Close().Close().Open("tbody");
  for (const StageRecord& stage : stages) {
    const auto cell = [&](const std::string& text, const char* label) {
      html.Line("td", text, {{"class", "number"}, {"data-label", label}});
    };
    html.Open("tr").Line("th", stage.name, {{"scope", "row"}});
    cell(stage.asked > 0 ? Format("{} {}", Grouped(stage.asked), stage.unit) : "–", "asked");
    cell(stage.asked > 0 ? Grouped(stage.made) : "–", "made");
    cell(stage.asked > 0 ? Grouped(stage.failed) : "–", "left out");
    cell(HumanSeconds(stage.seconds), "time");
    html.Open("td", {{"class", "wide"}}).Open("span", {{"class", "meter"}, {"aria-hidden", "true"}});
    html.Line("i", "", {{"style", Format("width:{:.1f}%", 100 * stage.seconds / longest)}}).Close().Close();
    cell(stage.peak_memory > 0 ? HumanBytes(stage.peak_memory) : "–", "peak memory");
    html.Close();
  }
  html.Close();
  CloseTable(html);
}

}  // namespace

void WriteStages(Html& html, const RunRecord& run) {
  if (run.stages.empty()) return;
  double total = 0;
  for (const StageRecord& stage : run.stages) total += stage.seconds;
  const auto lines = Folded(run);
  const bool folded = lines.size() < run.stages.size();
  html.Open("section");
  Heading(html, "Coverage and cost",
          Format("{} in all. What was asked for, made, and left out, and what it took{}.", HumanSeconds(total),
                 folded ? "; an arm's training and scores together" : ""));
  WriteStageTable(html, lines);
  if (folded) {
    html.Open("details").Line("summary", Format("All {} stages", run.stages.size()));
    WriteStageTable(html, run.stages);
    html.Close();
  }
  html.Close();
}

void WriteLeftOut(Html& html, const RunRecord& run) {
  if (run.left_out.empty()) return;
  html.Open("section");
  Heading(html, "Left out", "Pictures that could not be read, with the reason; everything else went on.");
  OpenTable(html, "left-out");
  html.Open("thead").Open("tr");
  for (const char* name : {"Stage", "Picture", "Reason"}) html.Line("th", name, {{"scope", "col"}});
  html.Close().Close().Open("tbody");
  for (const LeftOut& left_out : run.left_out) {
    for (size_t i = 0; i < std::min(kLeftOutShown, left_out.rows.size()); ++i) {
      html.Open("tr")
          .Line("td", left_out.stage, {{"data-label", "stage"}})
          .Line("td", left_out.rows[i].first, {{"data-label", "picture"}});
      html.Line("td", left_out.rows[i].second, {{"data-label", "reason"}}).Close();
    }
    if (left_out.rows.size() > kLeftOutShown) {
      html.Open("tr")
          .Line("td", left_out.stage)
          .Line("td", Format("and {} more", left_out.rows.size() - kLeftOutShown))
          .Line("td", "see skipped.tsv")
          .Close();
    }
  }
  html.Close();
  CloseTable(html);
  html.Close();
}

// Where the weights are, and how other libraries get them: of the last arm, which a recipe is about.
void WriteEncoders(Html& html, const RunRecord& run) {
  const ArmRecord* last = nullptr;
  std::string file;
  int64_t trained = 0, all = 0;
  for (const ArmRecord& arm : run.arms) {
    for (const TrainingRecord& training : arm.trainings) {
      ++all;
      if (!training.trained) continue;
      ++trained;
      if (last != &arm) file = training.encoder.string();
      last = &arm;
    }
  }
  if (last == nullptr) return;
  const Path each = SeedFolder(run.folder, "ARM", run.seeds.size() > 1, 0);
  const std::string pattern = run.seeds.size() > 1 ? (each.parent_path() / "seed-S").string() : each.string();
  html.Open("section");
  Heading(html, "The encoders",
          Format("{}/pretrain/encoder.safetensors{}. For another library, such as torchvision, timm or transformers "
                 "(`--layout`):",
                 pattern, trained < all ? Format(", {} of {} so far", trained, all) : ""));
  const char* layout = SettingOf(run, *last, "pretrain.backbone").starts_with("vit") ? "timm" : "torchvision";
  html.Line("pre",
            Format("genview export {} --layout {} --out {}", ShellWord(file), layout,
                   ShellWord(Format("{}-{}.safetensors", last->name, layout))),
            {{"class", "command"}});
  html.Close();
}

// What every key means stands in recipe.toml itself.
static std::string WithoutComments(const std::string& toml) {
  std::string text;
  for (const std::string& line : Split(toml, '\n')) {
    if (!Trim(line).starts_with('#')) text += line + "\n";
  }
  return std::string(Trim(text)) + "\n";
}

void WriteRecipe(Html& html, const RunRecord& run) {
  html.Open("section");
  Heading(html, "The recipe, resolved",
          Format("`genview run {}` makes this run again.", ShellWord((run.folder / "recipe.toml").string())));
  html.Line("pre", WithoutComments(run.recipe_text), {{"tabindex", "0"}, {"aria-label", "recipe"}});
  if (run.environment.is_object() && !run.environment.empty()) {
    html.Open("dl", {{"class", "environment"}});
    for (const auto& [key, value] : run.environment.items()) {
      if (value.is_object()) continue;
      html.Open("div").Line("dt", key);
      std::string text = value.is_string() ? value.get<std::string>() : value.dump();
      if (value.is_array()) {
        text.clear();
        for (const Json& item : value) {
          if (!text.empty()) text += ' ';
          text += item.is_string() ? item.get<std::string>() : item.dump();
        }
      }
      html.Line("dd", text).Close();
    }
    html.Close();
  }
  html.Close();
}

}  // namespace genview
