#include "genview/report/report.h"

#include <map>
#include <set>
#include <utility>

#include "genview/base/text.h"
#include "genview/report/sections.h"

namespace genview {
namespace {

std::string TitleOf(const std::vector<RunRecord>& runs) {
  std::string title;
  for (const RunRecord& run : runs) title += Format("{}{}", title.empty() ? "" : ", ", run.name);
  return title;
}

// Runs of one name get their folders' names too, or where these are the same as well, their paths.
void TellApart(std::vector<RunRecord>& runs) {
  const auto last = [](const RunRecord& run) {
    return std::filesystem::weakly_canonical(run.folder).filename().string();
  };
  std::map<std::string, int> names, folders;
  for (const RunRecord& run : runs) {
    ++names[run.name];
    ++folders[Format("{}/{}", run.name, last(run))];
  }
  for (RunRecord& run : runs) {
    if (names[run.name] < 2) continue;
    run.name = Format("{} ({})", run.name,
                      folders[Format("{}/{}", run.name, last(run))] < 2 ? last(run) : run.folder.string());
  }
}

// "moco-v2 · resnet18 · 40 epochs": what was trained, as far as all arms have it in common.
std::string Setting(const RunRecord& run) {
  std::vector<std::string> words;
  const auto add = [&](const char* key, const char* unit, const char* several) {
    std::set<std::string> values;
    for (const ArmRecord& arm : run.arms) values.insert(SettingOf(run, arm, key));
    if (values.size() == 1 && !values.begin()->empty()) words.push_back(Format("{}{}", *values.begin(), unit));
    if (values.size() > 1 && *several != '\0') words.push_back(Format("{} {}", values.size(), several));
  };
  add("pretrain.method", "", "methods");
  add("pretrain.backbone", "", "");
  add("pretrain.epochs", " epochs", "");
  add("data.train", "", "");
  return Format("{}", fmt::join(words, " · "));
}

void WriteHead(Html& html, const std::string& title) {
  html.Open("head").Void("meta", {{"charset", "utf-8"}});
  html.Void("meta", {{"name", "viewport"}, {"content", "width=device-width, initial-scale=1"}});
  html.Void("meta", {{"name", "color-scheme"}, {"content", "light dark"}});
  // Belt and braces: even a mistake of ours could neither run a script nor reach the network.
  html.Void("meta", {{"http-equiv", "Content-Security-Policy"},
                     {"content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'"}});
  html.Void("link", {{"rel", "icon"}, {"href", "data:,"}});
  html.Line("title", Format("{} – GenView", title));
  html.Open("style").Css(kPageStyle).Close().Close();
}

}  // namespace

ReportSummary WriteReport(const std::vector<Path>& folders, const Path& out) {
  std::vector<RunRecord> runs;
  for (const Path& folder : folders) runs.push_back(ReadRun(folder));
  return WritePage(std::move(runs), out);
}

ReportSummary WritePage(std::vector<RunRecord> runs, const Path& out) {
  TellApart(runs);
  const Headline headline = MakeHeadline(runs);
  const std::string title = TitleOf(runs);
  int64_t left_out = 0;

  Html html;
  html.Literal(kPageBegins);
  html.Open("html", {{"lang", "en"}});
  WriteHead(html, title);
  html.Open("body").Open("main");
  html.Open("header").Line("p", Format("GenView · {}", title), {{"class", "eyebrow"}}).Line("h1", headline.sentence);
  if (!headline.detail.empty()) html.Line("p", headline.detail, {{"class", "lead"}});
  for (const RunRecord& run : runs) html.Line("p", Setting(run), {{"class", "setting"}});
  html.Close();
  WriteResults(html, runs);
  for (const RunRecord& run : runs) {
    if (runs.size() > 1) html.Line("h2", run.name, {{"class", "run"}});
    PictureShelf shelf;
    WriteGallery(html, run, shelf);
    WriteLevels(html, run, shelf);
    WriteLikeness(html, run);
    WritePairs(html, run, shelf);
    WriteWeights(html, run);
    WriteRatios(html, run);
    left_out += shelf.left_out();
  }
  WriteCurves(html, runs);
  for (const RunRecord& run : runs) {
    WriteStages(html, run);
    WriteLeftOut(html, run);
  }
  for (const RunRecord& run : runs) {
    WriteEncoders(html, run);
    WriteRecipe(html, run);
  }
  html.Close().Close().Close();

  const std::string page = html.Finish();
  WriteFile(out, page);
  return {headline.sentence, page.size(), left_out};
}

}  // namespace genview
