// Curves of the training: one panel for all arms, or where several methods are compared, small ones of one method each.
#include <algorithm>

#include "genview/base/text.h"
#include "genview/report/comparison.h"
#include "genview/report/curves.h"
#include "genview/report/page_parts.h"
#include "genview/report/plots.h"
#include "genview/report/sections.h"

namespace genview {
namespace {

constexpr size_t kLabels = 8, kLabelLetters = 16;  // lines that are all named, and how much of a name there is room for

// "views" for "moco-v2-views" in the panel of moco-v2; without the run, which the legend names where there are several.
std::string ShortName(const Row& row, bool of_method) {
  const std::string &name = row.arm->name, prefix = row.method + "-";
  return of_method && name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

std::string Cut(const std::string& name) {
  if (name.size() <= kLabelLetters) return name;
  size_t end = kLabelLetters - 1;
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80) --end;  // whole characters
  return name.substr(0, end) + "…";
}

std::string NameOf(const Row& row, const TrainingRecord& training, bool several_runs) {
  return several_runs ? Format("{} / {}", row.run->name, training.name) : training.name;
}

struct Sources {
  std::vector<LogSource> logs;
  bool legend = false;  // labels do not say all
};

Sources SourcesOf(const Comparison& arms, bool several_runs) {
  Sources sources;
  sources.legend = several_runs;
  for (const Row& row : arms.rows) {
    const auto beside = static_cast<size_t>(std::count_if(arms.rows.begin(), arms.rows.end(), [&](const Row& other) {
      return !arms.by_method || other.method == row.method;
    }));
    const std::string name = ShortName(row, arms.by_method);
    const bool named = beside > 1 && (beside <= kLabels || row.stands_out);
    sources.legend = sources.legend || (named && Cut(name) != name);
    bool first = true;  // one name for all seeds
    for (const TrainingRecord& training : row.arm->trainings) {
      sources.logs.push_back({NameOf(row, training, several_runs), training.log, row.colour,
                              named && first ? Cut(name) : "", row.stands_out, arms.MethodOf(row)});
      first = false;
    }
  }
  return sources;
}

void WritePanel(Html& html, const Panel& panel, const std::string& title, const std::string& note,
                const Extent& extent) {
  html.Open("figure").Open("figcaption").Line("strong", title);
  if (!note.empty()) html.Line("small", note);
  html.Close();
  DrawPanel(html, panel, extent);
  html.Close();
}

// A panel for each method. Their axes are the same, so that they can be compared, unless their scales are not.
void WriteMethods(Html& html, const Panel& panel, const Comparison& arms) {
  html.Line("h3", panel.title)
      .Line("p", Format("{}{}", panel.note, panel.by_method ? "" : " All on the same axes."), {{"class", "note"}});
  html.Open("div", {{"class", "panels"}});
  const Extent all = ExtentOf(panel.curves);
  for (size_t method = 0; method < arms.methods.size(); ++method) {
    Panel part = panel;
    std::erase_if(part.curves, [&](const Curve& curve) { return curve.method != method; });
    if (part.curves.empty()) continue;
    if (!arms.by_method) {
      for (Curve& curve : part.curves) curve.label.clear();  // its title says it
    }
    part.title = Format("{}, {}", arms.methods[method], panel.title);
    Extent own = ExtentOf(part.curves);
    own.letters = arms.by_method ? all.letters : 0;
    WritePanel(html, part, arms.methods[method], "", panel.by_method ? own : all);
  }
  html.Close();
}

}  // namespace

void WriteCurves(Html& html, const std::vector<RunRecord>& runs) {
  const Comparison arms(runs);
  const auto [logs, legend] = SourcesOf(arms, runs.size() > 1);
  const auto panels = ReadPanels(logs);
  if (panels.empty()) return;
  html.Open("section");
  std::vector<std::string> notes;
  if (logs.size() > arms.rows.size()) notes.push_back("A line for each seed.");
  if (arms.rows.size() > 2 && arms.rows.front().reference != nullptr)
    notes.push_back("Heavy lines are the arm that others are held to, and the best beside it.");
  Heading(html, "Training", Format("{}", fmt::join(notes, " ")));
  if (legend) {
    html.Open("ul", {{"class", "legend"}});
    for (const Row& row : arms.rows) {
      html.Open("li")
          .Line("span", "", {{"class", Format("swatch c{} d{}", row.colour, row.colour)}, {"aria-hidden", "true"}})
          .Text(row.name)
          .Close();
    }
    html.Close();
  }
  const auto small = [&](const Panel& panel) { return arms.methods.size() > 1 && (arms.by_method || panel.by_method); };
  for (const Panel& panel : panels) {
    if (small(panel)) WriteMethods(html, panel, arms);
  }
  if (!std::all_of(panels.begin(), panels.end(), small)) {
    html.Open("div", {{"class", "panels"}});
    for (const Panel& panel : panels) {
      if (!small(panel)) WritePanel(html, panel, panel.title, panel.note, ExtentOf(panel.curves));
    }
    html.Close();
  }
  for (const Row& row : arms.rows) {
    for (const TrainingRecord& training : row.arm->trainings) {
      if (!training.collapsed) continue;
      html.Line("p",
                Format("{} looks collapsed: its features hardly differ from picture to picture.",
                       Quoted(NameOf(row, training, runs.size() > 1))),
                {{"class", "warning"}});
    }
  }
  html.Close();
}

}  // namespace genview
