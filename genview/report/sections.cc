#include "genview/report/sections.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>

#include "genview/base/text.h"
#include "genview/report/comparison.h"
#include "genview/report/page_parts.h"
#include "genview/report/plots.h"

namespace genview {
namespace {

constexpr size_t kGalleryColumns = 10, kPairsShown = 4, kLevelColumns = 8;

void WriteImage(Html& html, const std::optional<PageImage>& image, const std::string& alt) {
  if (!image) {
    html.Line("span", "not there", {{"class", "missing"}});
    return;
  }
  html.Void("img", {{"src", image->uri},
                    {"alt", alt},
                    {"width", Format("{}", image->width)},
                    {"height", Format("{}", image->height)},
                    {"class", std::max(image->width, image->height) <= 48 ? "tiny" : "picture"}});
}

// At most `limit` of `rows`, evenly over all of them.
template <class T>
std::vector<T> Spread(const std::vector<T>& rows, size_t limit) {
  if (rows.size() <= limit) return rows;
  std::vector<T> result;
  for (size_t i = 0; i < limit; ++i) result.push_back(rows[limit == 1 ? 0 : i * (rows.size() - 1) / (limit - 1)]);
  return result;
}

std::string TitleOf(const std::string& eval) {
  std::string title = EvalName(eval);
  if (title != "kNN") title[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(title[0])));
  return title;
}

void WriteScoreCell(Html& html, const ArmScore* score, const std::string& label) {
  html.Open("td", {{"class", "number"}, {"data-label", label}});
  if (score == nullptr) {
    html.Text("–");
  } else {
    html.Line("strong", Percent(score->value));
    html.Line("small", Format(" {}–{}", Percent(score->low), Percent(score->high)));
  }
  html.Close();
}

void WriteDifferenceCell(Html& html, const Row& row) {
  html.Open("td", {{"class", "number"}, {"data-label", "difference"}});
  if (!row.Compared()) {
    html.Text(row.reference == &row ? "reference" : "–");
  } else {
    const Difference gain = Compare(*row.main, *row.reference->main);
    html.Line(gain.Clear() ? "strong" : "span", Signed(gain.value));
    html.Line("small", Format(" {} to {}", Signed(gain.low), Signed(gain.high)));
  }
  html.Close();
}

// What the table of results shows beside the names of arms.
struct ResultColumns {
  bool scores = false;              // any at all
  double low = 0, high = 100;       // ends of the axis of the main score, percent
  std::vector<std::string> others;  // kinds of score beside the main one, in the order that each arm has them
};

bool IsOnAxis(const Row& row) { return row.reference != nullptr && row.Comparable(*row.reference); }

void WriteResultsHead(Html& html, const Comparison& arms, const ResultColumns& columns) {
  std::string caption = "Below a name, what the arm sets otherwise than others.";
  if (columns.scores) {
    caption = Format(
        "Top-1 accuracy in percent with 95% intervals; the dotted mark is the arm that the others{} are held to. {}",
        arms.by_method ? " of its method" : "", caption);
  }
  html.Line("caption", caption);
  html.Open("thead").Open("tr");
  html.Line("th", "Arm", {{"scope", "col"}});
  if (columns.scores) {
    html.Line("th", TitleOf(arms.eval), {{"scope", "col"}, {"class", "number"}});
    html.Open("th", {{"scope", "col"}, {"class", "wide"}}).Line("span", "Interval", {{"class", "quiet"}}).Close();
    html.Line("th", "Difference", {{"scope", "col"}, {"class", "number"}});
  }
  for (const auto& eval : columns.others) html.Line("th", TitleOf(eval), {{"scope", "col"}, {"class", "number"}});
  html.Close().Close();
}

void WriteIntervalCell(Html& html, const Row& row, const ResultColumns& columns) {
  html.Open("td", {{"class", "wide"}});
  if (IsOnAxis(row)) {
    const ArmScore& score = *row.main;
    DrawInterval(html,
                 {score.value, score.low, score.high, columns.low, columns.high, row.reference->main->value, row.colour,
                  Format("{}: {}%, interval {} to {}", row.name, Percent(score.value), Percent(score.low),
                         Percent(score.high))});
  }
  html.Close();
}

void WriteResultRow(Html& html, const Comparison& arms, const Row& row, const ResultColumns& columns) {
  html.Open("tr");
  html.Open("th", {{"scope", "row"}});
  html.Line("span", "", {{"class", Format("swatch c{} d{}", row.colour, row.colour)}, {"aria-hidden", "true"}});
  html.Line("span", row.name, {{"class", "arm-name"}});
  if (const std::string differs = WhatDiffers(*row.run, *row.arm); !differs.empty())
    html.Line("small", differs, {{"class", "set"}});
  const auto& trainings = row.arm->trainings;
  const bool trained = std::any_of(trainings.begin(), trainings.end(), [](const auto& each) { return each.trained; });
  if (!trained && row.scores.empty()) html.Line("small", "not trained", {{"class", "set"}});
  html.Close();
  if (columns.scores) {
    WriteScoreCell(html, row.Of(arms.eval), EvalName(arms.eval));
    WriteIntervalCell(html, row, columns);
    WriteDifferenceCell(html, row);
    for (const auto& eval : columns.others) WriteScoreCell(html, row.Of(eval), EvalName(eval));
  }
  html.Close();
}

void WritePair(Html& html, const PairRow& pair, PictureShelf& shelf) {
  html.Open("figure", {{"class", "pair"}});
  html.Open("div", {{"class", "four"}});
  WriteImage(html, shelf.Add(pair.view1), Format("first view of {}", pair.id));
  WriteImage(html, shelf.Add(pair.view2), Format("second view of {}", pair.id));
  WriteImage(html, shelf.AddMasked(pair.view1, pair.map1), "its foreground");
  WriteImage(html, shelf.AddMasked(pair.view2, pair.map2), "its foreground");
  html.Close();
  html.Open("figcaption").Line("strong", Format("{:.2f}", pair.weight)).Text(" times the mean weight").Close();
  html.Close();
}

// Levels of all arms; where they have no steps, hundreds of them.
int64_t LevelColumn(int64_t level, bool hundreds) { return hundreds ? level / 100 * 100 : level; }

void WriteWeightCell(Html& html, const WeightRecord& weight, const std::string& label) {
  html.Open("td", {{"class", "number"}, {"data-label", label}});
  if (weight.pairs == 0) html.Text("–");
  else
    html.Line("strong", Format("{:.3f}", weight.mean))
        .Text(" ")
        .Line("small", Grouped(weight.pairs), {{"data-after", "pairs"}});
  html.Close();
}

std::string AgreementSentence(const RunRecord& run) {
  std::vector<std::string> arms;
  int64_t pairs = 0;
  for (const ArmRecord& arm : run.arms) {
    for (const TrainingRecord& training : arm.trainings) {
      if (training.agreement.pairs == 0) continue;
      arms.push_back(Format("{} {:.2f}", Quoted(training.name), training.agreement.spearman));
      pairs = std::max(pairs, training.agreement.pairs);
    }
  }
  if (arms.empty()) return "";
  return Format(
      "Where weights come from maps of whole pictures, made once, their rank correlation with those of the views "
      "themselves over {} pairs is: {}.",
      Grouped(pairs), fmt::join(arms, ", "));
}

}  // namespace

void WriteResults(Html& html, const std::vector<RunRecord>& runs) {
  const Comparison arms(runs);
  if (arms.rows.empty()) return;
  double low = 100, high = 0;
  ResultColumns columns;
  for (const Row& row : arms.rows) {
    columns.scores = columns.scores || !row.scores.empty();
    for (const ArmScore* score : row.scores) {
      auto& others = columns.others;
      if (score->eval != arms.eval && std::find(others.begin(), others.end(), score->eval) == others.end())
        others.push_back(score->eval);
    }
    if (!IsOnAxis(row)) continue;
    low = std::min(low, row.main->low);
    high = std::max(high, row.main->high);
  }
  const double pad = std::max(0.5, 0.12 * (high - low));
  columns.low = low - pad;
  columns.high = high + pad;
  html.Open("section", {{"class", "results"}, {"aria-label", "Results"}});
  OpenTable(html, "arms");
  WriteResultsHead(html, arms, columns);
  html.Open("tbody");
  for (const Row& row : arms.rows) {
    if (arms.by_method && &row != &arms.rows.front() && row.method != (&row - 1)->method) html.Close().Open("tbody");
    WriteResultRow(html, arms, row, columns);
  }
  html.Close();
  CloseTable(html);
  html.Close();
}

void WriteGallery(Html& html, const RunRecord& run, PictureShelf& shelf) {
  if (run.gallery.empty()) return;
  html.Open("section");
  Heading(html, "How a view is made",
          "From little foreground to much: the picture, what the foreground model finds in it, and the generated view. "
          "The more of "
          "the picture is foreground, the higher the noise level, and the freer the view.");
  html.Open("div", {{"class", "contact"}});
  bool middles = false;  // squares are shown, so that the rows are rows
  for (const GalleryRow& row : Spread(run.gallery, kGalleryColumns)) {
    html.Open("figure");
    const auto picture = shelf.Add(row.image);
    middles = middles || (picture && picture->width != picture->height);
    WriteImage(html, picture, Format("picture {}", row.id));
    WriteImage(html, shelf.AddMasked(row.image, row.mask), "its foreground");
    WriteImage(html, shelf.Add(row.view), Format("generated view at level {}", row.level));
    html.Open("figcaption");
    html.Open("span", {{"class", "meter"}, {"aria-hidden", "true"}});
    html.Line("i", "", {{"style", Format("width:{:.0f}%", 100 * std::clamp(row.ratio, 0.0, 1.0))}}).Close();
    html.Line("strong", Format("{:.0f}%", 100 * row.ratio)).Line("span", Format("level {}", row.level)).Close();
    html.Close();
  }
  html.Close();
  html.Open("ul", {{"class", "key"}})
      .Line("li", middles ? "top: the middle of the picture" : "top: the picture")
      .Line("li", "middle: its foreground")
      .Line("li", "bottom: the view")
      .Close();
  html.Close();
}

void WriteLevels(Html& html, const RunRecord& run, PictureShelf& shelf) {
  if (run.levels.views.empty()) return;
  html.Open("section");
  Heading(html, "One picture at every noise level",
          "Drawn several times. The higher the level, the more the generator is free, and the more its draws differ.");
  html.Open("div", {{"class", "strip"}});
  html.Open("figure");
  WriteImage(html, shelf.Add(run.levels.image), Format("picture {}", run.levels.id));
  html.Line("figcaption", "picture").Close();
  for (const auto& [level, views] : run.levels.views) {
    html.Open("figure");
    for (const Path& view : views) WriteImage(html, shelf.Add(view), Format("view at level {}", level));
    html.Line("figcaption", Format("level {}", level)).Close();
  }
  html.Close().Close();
}

// Levels down, bins of foreground across; the last column is over all of them.
void WriteLikeness(Html& html, const RunRecord& run) {
  const LikenessTable& table = run.likeness;
  if (table.by_level.empty()) return;
  const bool classes = table.real_kept >= 0;
  html.Open("section");
  std::string note = Format(
      "{} pictures over the whole range of foreground, one view of each at every noise level: the mean cosine between "
      "the encoder's "
      "embeddings of picture and view, by the picture's share of foreground",
      Grouped(table.pictures));
  if (classes) {
    note += Format(
        ", and in bold the share of views that keep the class of their picture, by a linear classifier trained on "
        "other real pictures. "
        "Of the pictures themselves it names {:.0f}% rightly",
        table.real_kept);
  }
  Heading(html, "What views keep", note + ".");
  std::vector<const LikenessRecord*> bins;
  for (const LikenessRecord& row : table.by_bin) {
    if (row.level == table.by_level[0].level) bins.push_back(&row);
  }
  const auto share = [](const LikenessRecord& bin) { return Format("{:.0f}–{:.0f}%", 100 * bin.from, 100 * bin.to); };
  OpenTable(html, "likeness");
  html.Open("thead").Open("tr").Line("th", "Noise level", {{"scope", "col"}});
  for (const LikenessRecord* bin : bins)
    html.Line("th", Format("{} foreground", share(*bin)), {{"scope", "col"}, {"class", "number"}});
  html.Line("th", "all", {{"scope", "col"}, {"class", "number"}});
  if (classes) html.Line("th", "95% interval", {{"scope", "col"}, {"class", "number"}});
  html.Close().Close().Open("tbody");
  const auto cell = [&](const LikenessRecord& row, const std::string& label) {
    html.Open("td", {{"class", "number"}, {"data-label", label}});
    if (row.views == 0) {
      html.Text("–");
    } else {
      html.Line(classes ? "span" : "strong", Format("{:.3f}", row.cosine), {{"data-before", "cosine"}});
      if (classes) html.Text(" ").Line("strong", Format("{:.0f}%", row.kept), {{"data-before", "kept"}});
    }
    html.Close();
  };
  for (const LikenessRecord& level : table.by_level) {
    html.Open("tr").Line("th", Format("{}", level.level), {{"scope", "row"}, {"data-before", "noise level"}});
    for (const LikenessRecord& row : table.by_bin) {
      if (row.level == level.level) cell(row, Format("{} foreground", share(row)));
    }
    cell(level, "all");
    if (classes)
      html.Line("td", Format("{:.0f}–{:.0f}%", level.low, level.high),
                {{"class", "number"}, {"data-label", "95% interval"}});
    html.Close();
  }
  html.Close();
  CloseTable(html);
  html.Close();
}

void WritePairs(Html& html, const RunRecord& run, PictureShelf& shelf) {
  const auto& pairs = run.pairs;
  if (pairs.empty()) return;
  const size_t highest = std::min(kPairsShown, (pairs.size() + 1) / 2),
               lowest = std::min(highest, pairs.size() - highest);
  html.Open("section");
  Heading(html, "Pairs and their quality",
          Format("Pairs of {} that count most and least in the loss: foregrounds that agree on backgrounds that differ "
                 "weigh more. Below "
                 "each view is where the quality model sees foreground.",
                 Quoted(run.pairs_arm)));
  const auto write = [&](const char* title, size_t count, auto&& nth) {
    if (count == 0) return;
    html.Line("h3", title).Open("div", {{"class", "pairs"}});
    for (size_t i = 0; i < count; ++i) WritePair(html, nth(i), shelf);
    html.Close();
  };
  write("Highest weight", highest, [&](size_t i) -> const PairRow& { return pairs[i]; });
  write("Lowest weight", lowest, [&](size_t i) -> const PairRow& { return pairs[pairs.size() - 1 - i]; });
  html.Close();
}

// Where a batch holds pairs of one kind only, its mean weight says nothing.
void WriteWeights(Html& html, const RunRecord& run) {
  std::vector<const ArmRecord*> arms;
  std::map<int64_t, int64_t> levels;  // and how many arms have them
  const std::string agreement = AgreementSentence(run);
  for (const ArmRecord& arm : run.arms) {
    const auto kinds = arm.weights.levels.size() + (arm.weights.augmented.pairs > 0 ? 1 : 0);
    if (kinds < 2) continue;
    arms.push_back(&arm);
    for (const auto& [level, weight] : arm.weights.levels) ++levels[level];
  }
  if (arms.empty() && agreement.empty()) return;
  const bool hundreds = levels.size() > kLevelColumns;
  std::map<int64_t, int64_t> columns;
  for (const auto& [level, count] : levels) ++columns[LevelColumn(level, hundreds)];
  html.Open("section");
  std::string note = arms.empty() ? ""
                                  : "Mean weight of the pairs with a generated view, of all and by its noise level, "
                                    "and of those without: 1 is the mean of a batch. Beside it, how many pairs.";
  if (!note.empty() && !agreement.empty()) note += " ";
  Heading(html, "What pairs weigh", note + agreement);
  if (!arms.empty()) {
    const auto name = [&](int64_t level) {
      return hundreds ? Format("level {}–{}", level, level + 99) : Format("level {}", level);
    };
    OpenTable(html, "weights");
    html.Open("thead").Open("tr").Line("th", "Arm", {{"scope", "col"}});
    html.Line("th", "without", {{"scope", "col"}, {"class", "number"}})
        .Line("th", "generated", {{"scope", "col"}, {"class", "number"}});
    for (const auto& [level, count] : columns) html.Line("th", name(level), {{"scope", "col"}, {"class", "number"}});
    html.Close().Close().Open("tbody");
    for (const ArmRecord* arm : arms) {
      html.Open("tr").Line("th", arm->name, {{"scope", "row"}});
      WriteWeightCell(html, arm->weights.augmented, "without");
      WriteWeightCell(html, arm->weights.generated, "generated");
      for (const auto& [column, count] : columns) {
        WeightRecord of_column;
        double sum = 0;
        for (const auto& [level, weight] : arm->weights.levels) {
          if (LevelColumn(level, hundreds) != column) continue;
          sum += weight.mean * static_cast<double>(weight.pairs);
          of_column.pairs += weight.pairs;
        }
        if (of_column.pairs > 0) of_column.mean = sum / static_cast<double>(of_column.pairs);
        WriteWeightCell(html, of_column, name(column));
      }
      html.Close();
    }
    html.Close();
    CloseTable(html);
  }
  html.Close();
}

void WriteRatios(Html& html, const RunRecord& run) {
  if (run.ratios.empty()) return;
  constexpr size_t kBins = 40;
  std::vector<int64_t> counts(kBins);
  std::vector<std::map<int64_t, int64_t>> levels(kBins);
  std::map<int64_t, int64_t> by_level;
  double mean = 0;
  for (const ForegroundRow& row : run.ratios) {
    const auto bin = std::min(kBins - 1, static_cast<size_t>(std::clamp(row.ratio, 0.0, 1.0) * kBins));
    ++counts[bin];
    ++levels[bin][row.noise_level];
    ++by_level[row.noise_level];
    mean += row.ratio / static_cast<double>(run.ratios.size());
  }
  const int64_t most = *std::max_element(counts.begin(), counts.end());
  html.Open("section");
  std::string note = Format("Share of foreground over {} pictures, {:.0f}% on the mean.",
                            Grouped(static_cast<int64_t>(run.ratios.size())), 100 * mean);
  if (by_level.size() > 1) {
    note += " The stronger the colour, the higher the noise level:";
    for (const auto& [level, count] : by_level) note += Format(" {} at {},", Grouped(count), level);
    note.back() = '.';
  }
  if (run.truth.images > 0) {
    note += Format(
        " Held against the true masks of {} pictures: mean intersection over union {:.2f}, rank correlation of the "
        "share {:.2f}.",
        Grouped(run.truth.images), run.truth.overlap, run.truth.spearman);
  }
  Heading(html, "Foreground over the whole set", note);
  html.Open("svg", {{"viewBox", "0 0 720 170"}, {"role", "img"}, {"aria-label", note}, {"class", "histogram"}});
  const int64_t top_level = std::max<int64_t>(1, by_level.rbegin()->first);
  for (size_t bin = 0; bin < kBins; ++bin) {
    if (counts[bin] == 0) continue;
    const double height = 130.0 * static_cast<double>(counts[bin]) / static_cast<double>(most);
    const auto common =
        std::max_element(levels[bin].begin(), levels[bin].end(), [](auto& a, auto& b) { return a.second < b.second; });
    const double shade = 0.3 + 0.7 * static_cast<double>(common->first) / static_cast<double>(top_level);
    html.Void("rect", {{"class", "bar"},
                       {"x", Format("{:.1f}", 10 + 17.5 * static_cast<double>(bin) + 1)},
                       {"y", Format("{:.1f}", 140 - height)},
                       {"width", "15.5"},
                       {"height", Format("{:.1f}", height)},
                       {"opacity", Format("{:.2f}", shade)}});
  }
  html.Void("line", {{"class", "axis"}, {"x1", "10"}, {"x2", "710"}, {"y1", "140.5"}, {"y2", "140.5"}});
  for (const int percent : {0, 20, 40, 60, 80, 100}) {
    html.Line("text", Format("{}%", percent),
              {{"class", percent == 0     ? "tick start"
                         : percent == 100 ? "tick end"
                                          : "tick middle"},
               {"x", Format("{}", 10 + 7 * percent)},
               {"y", "160"}});
  }
  html.Close().Close();
}

}  // namespace genview
