// What each stage made, left out and took, and how to make the run again.
#include <algorithm>

#include "genview/base/text.h"
#include "genview/report/page_parts.h"
#include "genview/report/sections.h"

namespace genview {
namespace {

constexpr size_t kLeftOutShown = 20;

}  // namespace

void WriteStages(Html& html, const RunRecord& run) {
  if (run.stages.empty()) return;
  double longest = 1e-9, total = 0;
  for (const StageRecord& stage : run.stages) {
    longest = std::max(longest, stage.seconds);
    total += stage.seconds;
  }
  html.Open("section");
  Heading(html, "Coverage and cost", Format("{} in all. What was asked for, made, and left out, and what each stage took.", HumanSeconds(total)));
  OpenTable(html, "stages");
  html.Open("thead").Open("tr");
  html.Line("th", "Stage", {{"scope", "col"}});
  for (const char* name : {"asked", "made", "left out"}) html.Line("th", name, {{"scope", "col"}, {"class", "number"}});
  html.Line("th", "time", {{"scope", "col"}, {"class", "number"}}).Open("th", {{"scope", "col"}, {"class", "wide"}}).Close();
  html.Line("th", "peak memory", {{"scope", "col"}, {"class", "number"}}).Close().Close().Open("tbody");
  for (const StageRecord& stage : run.stages) {
    const auto cell = [&](const std::string& text, const char* label) { html.Line("td", text, {{"class", "number"}, {"data-label", label}}); };
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
      html.Open("tr").Line("td", left_out.stage, {{"data-label", "stage"}}).Line("td", left_out.rows[i].first, {{"data-label", "picture"}});
      html.Line("td", left_out.rows[i].second, {{"data-label", "reason"}}).Close();
    }
    if (left_out.rows.size() > kLeftOutShown) {
      html.Open("tr").Line("td", left_out.stage).Line("td", Format("and {} more", left_out.rows.size() - kLeftOutShown)).Line("td", "see skipped.tsv").Close();
    }
  }
  html.Close();
  CloseTable(html);
  html.Close();
}

void WriteRecipe(Html& html, const RunRecord& run) {
  html.Open("section");
  Heading(html, "The recipe, resolved", Format("`genview run {}` makes this run again.", (run.folder / "recipe.toml").string()));
  html.Line("pre", run.recipe_text, {{"tabindex", "0"}, {"aria-label", "recipe"}});
  if (run.environment.is_object() && !run.environment.empty()) {
    html.Open("dl", {{"class", "environment"}});
    for (const auto& [key, value] : run.environment.items()) {
      if (value.is_object()) continue;
      html.Open("div").Line("dt", key);
      std::string text = value.is_string() ? value.get<std::string>() : value.dump();
      if (value.is_array()) {
        text.clear();
        for (const Json& item : value) text += (text.empty() ? std::string() : std::string(" ")) + (item.is_string() ? item.get<std::string>() : item.dump());
      }
      html.Line("dd", text).Close();
    }
    html.Close();
  }
  html.Close();
}

}  // namespace genview
