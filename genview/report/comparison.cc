#include "genview/report/comparison.h"

#include <algorithm>
#include <map>

#include "genview/base/text.h"
#include "genview/report/page_parts.h"
#include "genview/report/sections.h"

namespace genview {
namespace {

// "Kind of interval, of which seeds": where the interval of a difference comes from.
std::string OriginOf(const Difference& gain, const ArmScore& score, const ArmScore& reference) {
  const size_t most = std::max(score.seeds.size(), reference.seeds.size()), common = gain.seeds.size();
  if (gain.paired)
    return common == most ? "of the differences seed by seed"
                          : Format("of the differences in the {} seeds that both have", common);
  if (common > 1) return "that of both arms' intervals in one seed together, since all seeds differ by the same";
  if (common == 1 && most > 1)
    return Format("that of both arms' intervals together, of seed {} alone, which both have", gain.seeds[0]);
  return score.interval == reference.interval && score.interval == "95% Wilson over images"
             ? "that of both arms' binomial intervals together"
             : "that of both arms' intervals together";
}

std::string Sample(const ArmScore& score) {
  std::string text = Format("{} test images, {} classes", Grouped(score.images), score.classes);
  if (score.seeds.size() > 1) text += Format(", {} seeds", score.seeds.size());
  return text;
}

// A run that is through may have no scores: nothing to score on, or no kind of score that is asked for.
std::string WhyNoScore(const std::vector<RunRecord>& runs) {
  bool trained = !runs.empty(), pictures = false, asked = false;
  for (const RunRecord& run : runs) {
    trained = trained && !run.arms.empty();
    for (const ArmRecord& arm : run.arms) {
      trained = trained && std::all_of(arm.trainings.begin(), arm.trainings.end(),
                                       [](const TrainingRecord& training) { return training.trained; });
      pictures = pictures || !SettingOf(run, arm, "data.test").empty();
      for (const auto& [eval, name] : kEvals)
        asked = asked || SettingOf(run, arm, Format("eval.{}.enabled", eval)) == "true";
    }
  }
  if (trained && !pictures) return "Trained; no scores, since the recipe names no test images.";
  if (trained && !asked) return "Trained; no scores, since the recipe asks for none.";
  return "No score yet: the run has not come to its evaluation.";
}

std::string IntervalOf(const Difference& gain) {
  return Format("(95% interval {} to {})", Signed(gain.low), Signed(gain.high));
}

// The row called baseline, or else the first.
template <class Wanted>
const Row* First(const std::vector<Row>& rows, Wanted&& wanted) {
  const Row* first = nullptr;
  for (const Row& row : rows) {
    if (!wanted(row)) continue;
    if (row.arm->name == "baseline") return &row;
    if (first == nullptr) first = &row;
  }
  return first;
}

// Of the arms of one method beside their reference the one that gains most, of those that gain for sure if there are
// any. Of many intervals of 95% one is above 0 by chance: those here are wider, so that all hold at once with 95%.
struct MethodGain {
  std::string method;
  const Row* best = nullptr;
  Difference gain;
  bool clear() const { return gain.low > 0; }
  bool operator<(const MethodGain& other) const {
    return clear() != other.clear() ? other.clear() : gain.value < other.gain.value;
  }
};

struct MethodGains {
  std::vector<MethodGain> methods;
  int64_t comparisons = 0;  // of all arms

  // Bonferroni's, of each of them.
  double confidence() const { return 1 - (1 - kConfidence) / static_cast<double>(comparisons); }
};

MethodGains GainsOf(const Comparison& arms) {
  MethodGains gains;
  const auto counts = [](const Row& row) { return row.Compared() && row.reference->method == row.method; };
  gains.comparisons = std::count_if(arms.rows.begin(), arms.rows.end(), counts);
  for (const std::string& method : arms.methods) {
    MethodGain found;
    for (const Row& row : arms.rows) {
      if (row.method != method || !counts(row)) continue;
      const MethodGain gain{method, &row, Compare(*row.main, *row.reference->main, gains.confidence())};
      if (found.best == nullptr || found < gain) found = gain;
    }
    if (found.best != nullptr) gains.methods.push_back(found);
  }
  return gains;
}

Headline HeadlineOfMethods(const MethodGains& all, const std::string& eval) {
  const std::vector<MethodGain>& gains = all.methods;
  const MethodGain& most = *std::max_element(gains.begin(), gains.end());
  std::vector<std::string> without;
  for (const MethodGain& gain : gains) {
    if (!gain.clear()) without.push_back(gain.method);
  }
  const size_t clear = gains.size() - without.size();
  const ArmScore &score = *most.best->main, &reference = *most.best->reference->main;
  Headline headline;
  const std::string beside =
      Format("{} (95% interval {} to {}, corrected for {} comparisons)", Quoted(most.best->reference->name),
             Signed(most.gain.low), Signed(most.gain.high), all.comparisons);
  headline.sentence = clear == 0
                          ? Format("None of {} methods gains: {} comes nearest, {} points from {}.", gains.size(),
                                   Quoted(most.best->name), Signed(most.gain.value), beside)
                          : Format("{} of {} methods {}, {} the most: {:.1f} points above {}.", clear, gains.size(),
                                   clear == 1 ? "gains" : "gain", Quoted(most.best->name), most.gain.value, beside);
  headline.detail = Format(
      "{}% and {}% {} accuracy; {}; the interval is {}. A method gains where one of its arms has an interval above 0. "
      "Intervals of the {} comparisons are of {:.2f}% here, so that all of them hold at once with 95%; those of the "
      "table are of 95% each.",
      Percent(score.value), Percent(reference.value), EvalName(eval), Sample(score),
      OriginOf(most.gain, score, reference), all.comparisons, 100 * all.confidence());
  if (clear > 0 && !without.empty()) headline.detail += Format(" Without gain: {}.", fmt::join(without, ", "));
  return headline;
}

}  // namespace

std::string WhatDiffers(const RunRecord& run, const ArmRecord& arm) {
  std::map<std::string, std::vector<std::string>> parts;  // by section, that of pretrain first
  for (const std::string& key : DifferingKeys(run)) {
    const auto found = arm.settings.find(key);
    if (found == arm.settings.end()) continue;
    const std::string name = key.starts_with("pretrain.") ? key.substr(sizeof("pretrain.") - 1) : key;
    const size_t dot = name.rfind('.');
    const std::string section = dot == std::string::npos ? "" : name.substr(0, dot),
                      last = dot == std::string::npos ? name : name.substr(dot + 1);
    const std::string& value = found->second;
    auto& part = parts[section];
    part.insert(last == "method" ? part.begin() : part.end(), value == "true"    ? last
                                                              : value == "false" ? Format("not {}", last)
                                                              : value.empty()    ? Format("no {}", last)
                                                                                 : Format("{} {}", last, value));
  }
  std::vector<std::string> texts;
  for (const auto& [section, part] : parts)
    texts.push_back(Format("{}{}{}", section, section.empty() ? "" : ": ", fmt::join(part, ", ")));
  return Format("{}", fmt::join(texts, "; "));
}

const ArmScore* Row::Of(const std::string& eval) const {
  const auto found =
      std::find_if(scores.begin(), scores.end(), [&](const ArmScore* score) { return score->eval == eval; });
  return found == scores.end() ? nullptr : *found;
}

bool Row::Comparable(const Row& other) const {
  if (main == nullptr || other.main == nullptr) return false;
  const bool known = !main->test.empty() && !other.main->test.empty();
  return main->images == other.main->images && main->classes == other.main->classes &&
         (!known || main->test == other.main->test);
}

Comparison::Comparison(const std::vector<RunRecord>& runs) {
  for (const RunRecord& run : runs) {
    for (const ArmRecord& arm : run.arms) {
      Row row{&run, &arm, runs.size() > 1 ? Format("{} / {}", run.name, arm.name) : arm.name};
      row.method = SettingOf(run, arm, "pretrain.method");
      for (const ArmScore& score : run.scores) {
        if (score.arm == arm.name && score.score == "top1") row.scores.push_back(&score);
      }
      if (std::find(methods.begin(), methods.end(), row.method) == methods.end()) methods.push_back(row.method);
      rows.push_back(std::move(row));
    }
  }
  Hold();
  Colour();
}

size_t Comparison::MethodOf(const Row& row) const {
  return static_cast<size_t>(std::find(methods.begin(), methods.end(), row.method) - methods.begin());
}

void Comparison::Hold() {
  const auto baseline = First(rows, [](const Row& row) { return !row.scores.empty(); });
  if (baseline == nullptr) return;
  eval = baseline->scores.front()->eval;
  for (Row& row : rows) row.main = row.Of(eval);
  std::map<std::string, int> scored;
  for (const Row& row : rows) scored[row.method] += row.main != nullptr ? 1 : 0;
  const bool about_methods =
      std::all_of(scored.begin(), scored.end(), [](const auto& method) { return method.second < 2; });
  for (Row& row : rows) {
    row.reference = about_methods ? nullptr : First(rows, [&](const Row& other) {
      const std::string source = SettingOf(*other.run, *other.arm, "pretrain.pair.source");
      return other.main != nullptr && other.method == row.method && (source.empty() || source == "augment");
    });
    if (row.reference == nullptr) row.reference = baseline;
  }
  by_method = methods.size() > 1 && !about_methods;
}

void Comparison::Colour() {
  std::map<std::string, std::vector<Row*>> groups;
  for (Row& row : rows) groups[by_method ? row.method : ""].push_back(&row);
  for (auto& [method, group] : groups) {
    const auto held = std::find_if(group.begin(), group.end(), [](const Row* row) { return row->reference == row; });
    if (held != group.end()) std::rotate(group.begin(), held, held + 1);
    Row* best = nullptr;
    for (Row* row : group) {
      if (row->Compared() && (best == nullptr || row->main->value > best->main->value)) best = row;
    }
    const bool many = static_cast<int64_t>(group.size()) > kQuiet;
    for (size_t i = 0; i < group.size(); ++i) {
      Row& row = *group[i];
      row.stands_out = &row == best || row.reference == &row;
      if (!many) row.colour = static_cast<int64_t>(i);
      else row.colour = row.reference == &row ? 0 : &row == best ? 1 : kQuiet;
    }
  }
}

Json ResultsToJson(const Comparison& arms, const std::vector<ArmScore>& scores) {
  Json json = ScoresToJson(scores);
  for (const Row& row : arms.rows) {
    for (size_t i = 0; i < scores.size(); ++i) {
      if (row.main != &scores[i] || !row.Compared()) continue;
      const Difference gain = Compare(*row.main, *row.reference->main);
      json["results"][i]["difference"] = {{"against", row.reference->arm->name},
                                          {"value", gain.value},
                                          {"low", gain.low},
                                          {"high", gain.high},
                                          {"paired", gain.paired},
                                          {"seeds", gain.seeds}};
    }
  }
  return json;
}

Headline MakeHeadline(const std::vector<RunRecord>& runs) {
  const Comparison arms(runs);
  const Row *first = nullptr, *last = nullptr, *best = nullptr;
  for (const Row& row : arms.rows) {
    if (first == nullptr && row.reference == &row) first = &row;
    if (row.Compared()) last = &row;
  }
  if (first == nullptr) return {WhyNoScore(runs), ""};
  if (const auto gains = GainsOf(arms); gains.methods.size() > 1) return HeadlineOfMethods(gains, arms.eval);
  const std::string eval = EvalName(arms.eval);
  if (last == nullptr) {
    return {Format("{} reaches {}% {} accuracy.", Quoted(first->name), Percent(first->main->value), eval),
            Format("95% interval {} to {}; {}.", Percent(first->main->low), Percent(first->main->high),
                   Sample(*first->main))};
  }
  // The arm a recipe ends with is the one it is about; a better one before it is named as well.
  const Row& held_to = *last->reference;
  for (const Row& row : arms.rows) {
    if (row.Compared() && row.reference == &held_to && (best == nullptr || row.main->value > best->main->value))
      best = &row;
  }
  const ArmScore &score = *last->main, &reference = *held_to.main;
  const Difference gain = Compare(score, reference);
  const std::string interval = IntervalOf(gain);
  std::string detail = Format("{}; the interval is {}.", Sample(score), OriginOf(gain, score, reference));
  if (best != last) detail += Format(" The best arm is {} with {}%.", Quoted(best->name), Percent(best->main->value));
  if (gain.low > 0) {
    return {Format("{} reaches {}% {} accuracy, {:.1f} points above {} {}.", Quoted(last->name), Percent(score.value),
                   eval, gain.value, Quoted(held_to.name), interval),
            detail};
  }
  if (gain.high < 0) {
    return {Format("{} stays {:.1f} points below {} {}: {}% and {}% {} accuracy.", Quoted(last->name), -gain.value,
                   Quoted(held_to.name), interval, Percent(score.value), Percent(reference.value), eval),
            detail};
  }
  return {
      Format("{} and {} are too close to call: {}% and {}% {} accuracy, {} points apart {}.", Quoted(last->name),
             Quoted(held_to.name), Percent(score.value), Percent(reference.value), eval, Signed(gain.value), interval),
      detail};
}

}  // namespace genview
