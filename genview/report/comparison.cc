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
  if (common > 1) return common == most ? "of the differences seed by seed" : Format("of the differences in the {} seeds that both have", common);
  if (common == 1 && most > 1) return Format("that of both arms' intervals together, of seed {} alone, which both have", gain.seeds[0]);
  return score.interval == "95% Wilson over images" ? "that of both arms' binomial intervals together" : "that of both arms' intervals together";
}

std::string Sample(const ArmScore& score) {
  std::string text = Format("{} test images, {} classes", Grouped(score.images), score.classes);
  if (score.seeds.size() > 1) text += Format(", {} seeds", score.seeds.size());
  return text;
}

}  // namespace

std::string WhatDiffers(const RunRecord& run, const ArmRecord& arm) {
  std::map<std::string, std::vector<std::string>> parts;  // by section, that of pretrain first
  for (const std::string& key : DifferingKeys(run)) {
    const auto found = arm.settings.find(key);
    if (found == arm.settings.end()) continue;
    const std::string name = key.starts_with("pretrain.") ? key.substr(sizeof("pretrain.") - 1) : key;
    const size_t dot = name.rfind('.');
    const std::string section = dot == std::string::npos ? "" : name.substr(0, dot), last = dot == std::string::npos ? name : name.substr(dot + 1);
    const std::string& value = found->second;
    auto& part = parts[section];
    part.insert(last == "method" ? part.begin() : part.end(),
                value == "true" ? last : value == "false" ? Format("not {}", last) : value.empty() ? Format("no {}", last) : Format("{} {}", last, value));
  }
  std::vector<std::string> texts;
  for (const auto& [section, part] : parts) texts.push_back(Format("{}{}{}", section, section.empty() ? "" : ": ", fmt::join(part, ", ")));
  return Format("{}", fmt::join(texts, "; "));
}

std::vector<Row> Rows(const std::vector<RunRecord>& runs) {
  std::vector<Row> rows;
  for (const RunRecord& run : runs) {
    for (const ArmRecord& arm : run.arms) {
      Row row{&run, &arm, runs.size() > 1 ? Format("{} / {}", run.name, arm.name) : arm.name, static_cast<int64_t>(rows.size())};
      for (const ArmScore& score : run.scores) {
        if (score.arm == arm.name && score.score == "top1") row.scores.push_back(&score);
      }
      rows.push_back(row);
    }
  }
  return rows;
}

const Row* BaselineOf(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    if (row.Main() != nullptr && row.arm->name == "baseline") return &row;
  }
  for (const Row& row : rows) {
    if (row.Main() != nullptr) return &row;
  }
  return nullptr;
}

const ArmScore* Beside(const Row& row, const Row& baseline) {
  const ArmScore &reference = *baseline.Main(), *score = row.Of(reference.eval);
  return score != nullptr && score->images == reference.images && score->classes == reference.classes ? score : nullptr;
}

Headline MakeHeadline(const std::vector<RunRecord>& runs) {
  const auto rows = Rows(runs);
  const Row* baseline = BaselineOf(rows);
  if (baseline == nullptr) return {"No score yet: the run has not come to its evaluation.", ""};
  // The arm a recipe ends with is the one it is about; a better one before it is named as well.
  const ArmScore& reference = *baseline->Main();
  const Row *last = nullptr, *best = nullptr;
  for (const Row& row : rows) {
    if (row.arm == baseline->arm || Beside(row, *baseline) == nullptr) continue;
    last = &row;
    if (best == nullptr || Beside(row, *baseline)->value > Beside(*best, *baseline)->value) best = &row;
  }
  const std::string eval = EvalName(reference.eval);
  if (last == nullptr) {
    return {Format("{} reaches {}% {} accuracy.", Quoted(baseline->name), Percent(reference.value), eval),
            Format("95% interval {} to {}; {}.", Percent(reference.low), Percent(reference.high), Sample(reference))};
  }
  const ArmScore& score = *Beside(*last, *baseline);
  const Difference gain = Compare(score, reference);
  const std::string interval = Format("(95% interval {} to {})", Signed(gain.low), Signed(gain.high));
  std::string detail = Format("{}; the interval is {}.", Sample(score), OriginOf(gain, score, reference));
  if (best != last) detail += Format(" The best arm is {} with {}%.", Quoted(best->name), Percent(Beside(*best, *baseline)->value));
  if (gain.low > 0) {
    return {Format("{} reaches {}% {} accuracy, {:.1f} points above {} {}.", Quoted(last->name), Percent(score.value), eval, gain.value,
                   Quoted(baseline->name), interval), detail};
  }
  if (gain.high < 0) {
    return {Format("{} stays {:.1f} points below {} {}: {}% and {}% {} accuracy.", Quoted(last->name), -gain.value, Quoted(baseline->name), interval,
                   Percent(score.value), Percent(reference.value), eval), detail};
  }
  return {Format("{} and {} are too close to call: {}% and {}% {} accuracy, {} points apart {}.", Quoted(last->name), Quoted(baseline->name),
                 Percent(score.value), Percent(reference.value), eval, Signed(gain.value), interval), detail};
}

}  // namespace genview
