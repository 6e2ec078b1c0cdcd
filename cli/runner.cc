#include "cli/runner.h"

#include <algorithm>

#include "cli/environment.h"
#include "cli/tasks.h"
#include "genview/base/error.h"
#include "genview/dist/tensor_group.h"
#include "genview/report/comparison.h"
#include "genview/report/report.h"

namespace genview {

Runner::Runner(RunPlan plan, std::vector<std::string> only, Progress& progress, Group& group)
    : plan_(std::move(plan)),
      only_(std::move(only)),
      group_(group),
      stages_(StagesOf(plan_, only_, /*side_by_side=*/!SharesAllPretraining())),
      progress_(progress, std::ssize(stages_)),
      book_(plan_.folder / "state", only_, plan_.recipe.run.strict) {}

bool Runner::AllArms() const { return plan_.Chosen().size() == plan_.arms.size(); }

bool Runner::Allowed(std::string_view stage) const {
  return only_.empty() || std::find(only_.begin(), only_.end(), stage) != only_.end();
}

void Runner::Make(const PlannedStage& stage) {
  progress_.Enter(stage.name);
  if (!book_.Make(RequestOf(stage, book_), progress_, [&] { return stage.work(group_, progress_); }))
    progress_.Say("unchanged");
}

// Those that are not done, each by one process.
void Runner::PretrainSideBySide(std::span<const PlannedStage> stages) {
  std::vector<Pretraining> all;
  for (const PlannedStage& stage : stages) {
    if (std::optional<OpenStage> open = book_.Begin(RequestOf(stage, book_), progress_)) {
      all.push_back({*stage.pretraining, std::move(*open)});
    } else {
      progress_.Enter(stage.name);
      progress_.Say("unchanged");
    }
  }
  if (all.empty()) return;
  const std::vector<PretrainOutcome> outcomes =
      PretrainEach(group_, progress_, all, [&](size_t i) { progress_.Enter(all[i].stage.name()); });
  for (size_t i = 0; i < all.size(); ++i) {
    const PretrainOutcome& done = outcomes[i];
    if (!done.elsewhere) continue;
    progress_.Enter(all[i].stage.name());
    progress_.Say(Format("made beside the others in {}, {} images skipped", HumanSeconds(done.seconds), done.skipped));
  }
}

// Every process needs a part of a step. Where there are too few, each process makes pretrainings of its own: a batch in
// other parts would be another result.
bool Runner::SharesPretraining(const PretrainConfig& config) const {
  return group_.size() == 1 || (CanConnectTensors() && group_.size() <= config.accumulate);
}

bool Runner::SharesAllPretraining() const {
  const std::vector<const ArmPlan*> arms = plan_.Chosen();
  return std::all_of(arms.begin(), arms.end(),
                     [&](const ArmPlan* arm) { return SharesPretraining(arm->recipe.pretrain.config); });
}

// Pretrainings that follow one another and need nothing of each other; `begin` where there is none that is one
// process's alone.
size_t Runner::EndOfSideBySide(size_t begin) const {
  size_t end = begin;
  const auto is_of_them = [&](const StageInput& input) {
    const auto them = std::span(stages_).subspan(begin, end - begin);
    return std::any_of(them.begin(), them.end(), [&](const PlannedStage& stage) { return stage.name == input.stage; });
  };
  for (; end < stages_.size(); ++end) {
    const PlannedStage& stage = stages_[end];
    if (!stage.pretraining || SharesPretraining(*stage.pretraining) ||
        std::any_of(stage.inputs.begin(), stage.inputs.end(), is_of_them))
      break;
  }
  return end;
}

void Runner::Report() {
  std::vector<RunRecord> runs;
  runs.push_back(ReadRun(plan_.folder));
  scores_ = runs[0].scores;
  WriteJson(plan_.folder / "results.json", ResultsToJson(Comparison(runs), runs[0].scores));
  const ReportSummary page = WritePage(std::move(runs), report());
  headline_ = page.headline;
}

// What a killed run left beside final names. Folders of many pictures are swept by the stages that write them.
static void SweepRunFolder(const Path& folder) {
  SweepPartFiles(folder);
  std::error_code code;
  std::filesystem::recursive_directory_iterator it(folder, code), end;
  for (; !code && it != end; it.increment(code)) {
    if (!it->is_directory(code)) continue;
    const std::string name = it->path().filename().string();
    if (name == "masks" || name.starts_with("views")) it.disable_recursion_pending();
    else SweepPartFiles(it->path());
  }
}

std::vector<Path> Runner::encoders() const {
  std::vector<Path> there;
  for (const ArmPlan& arm : plan_.arms) {
    for (const uint64_t seed : plan_.seeds) {
      Path encoder = EncoderFile(plan_, arm, seed);
      if (std::filesystem::exists(encoder)) there.push_back(std::move(encoder));
    }
  }
  return there;
}

// A run of one seed has an arm in ARM, one of several in ARM/seed-S. A training goes where it is looked for now, so
// that no seed is trained again because others are added or taken away.
void Runner::TakeOverSeeds() {
  const bool several = plan_.seeds.size() > 1;
  for (const ArmPlan& arm : plan_.arms) {
    for (const uint64_t seed : plan_.seeds) {
      const std::string other = SeedStage("pretrain", arm.name, !several, seed);
      const Path folder = SeedFolder(plan_.folder, arm.name, !several, seed) / "pretrain";
      const Json made_from = book_.RequestOf(other);
      if (!made_from.is_object()) continue;
      const PretrainConfig config = PretrainConfigOf(plan_, arm, seed);
      if (made_from.value("settings", Json()) == SettingsOf(WhatIsComputed(Resolved(config)), config.run))
        book_.Move(other, folder, StageName(plan_, "pretrain", arm, seed), config.out);
    }
  }
}

// What a stage that is left out was made from and is not asked for now; nothing where it is not there.
std::vector<std::string> Runner::WhatDiffers(const PlannedStage& stage) {
  const Json made_from = book_.RequestOf(stage.name);
  if (!made_from.is_object()) return {};
  std::vector<std::string> differences = Differences(WithoutPlaces(made_from.value("settings", Json()), stage.places),
                                                     WithoutPlaces(stage.settings, stage.places));
  const Json inputs = made_from.value("inputs", Json::object());
  for (const StageInput& input : stage.inputs) {
    if (input.kind == InputKind::kPictures && !AllArms() &&
        inputs.value(input.name, "") != book_.FingerprintOfPictures(input.value))
      differences.push_back(Format("other pictures of {}", input.key));
  }
  return differences;
}

// The recipe beside the results is today's: what --only leaves out may have been made with another one. Arms that
// --arms leaves out would stand on one page with those of this recipe.
void Runner::WarnOfLeftOut() {
  if (only_.empty() && AllArms()) return;
  RunPlan whole = plan_;
  for (ArmPlan& arm : whole.arms) arm.chosen = true;
  std::vector<PlannedStage> stages, others;
  try {
    stages = StagesOf(plan_, {});
    others = StagesOf(whole, {});
  } catch (const UsageError&) {
    return;  // what cannot be planned has not been made with these settings either
  }
  const auto refuse = [&](const std::string& what, const char* option) {
    throw Error({.what = what,
                 .where = (plan_.folder / "recipe.toml").string(),
                 .next = Format("run without {}, or with the recipe that the results were made with", option)});
  };
  const auto text = [](const PlannedStage& stage, const std::string& difference, const char* option) {
    return Format("`{}` was made with other settings ({}), and {} leaves it out", stage.name, difference, option);
  };
  for (const PlannedStage& stage : others) {
    const bool planned =
        std::any_of(stages.begin(), stages.end(), [&](const PlannedStage& known) { return known.name == stage.name; });
    if (planned || stage.name == "gallery") continue;  // the page's pictures are of the arms that were chosen last
    if (const auto differences = WhatDiffers(stage); !differences.empty())
      refuse(text(stage, differences.front(), "--arms"), "--arms");
  }
  for (const PlannedStage& stage : stages) {
    if (Allowed(std::string_view(stage.name).substr(0, stage.name.find(' ')))) continue;
    const std::vector<std::string> differences = WhatDiffers(stage);
    if (differences.empty()) continue;
    const std::string what = text(stage, differences.front(), "--only");
    if (only_ == std::vector<std::string>{"report"}) refuse(what, "--only");
    progress_.Warn(what);
  }
}

// Scores of other settings, or that nobody asks for any more, would stand on the page beside those of this recipe until
// they are made again, if ever.
void Runner::RemoveOldScores(const ArmPlan& arm, uint64_t seed) {
  RunOptions run = plan_.recipe.run;
  run.seed = seed;
  VisitScores(arm.recipe.eval, [&](const char* kind, const auto& part) {
    const std::string name = StageName(plan_, Format("eval {}", kind), arm, seed);
    const Path out = ScoreFile(plan_, arm, seed, kind);
    if (!part.enabled || plan_.recipe.data.test.empty()) return book_.Forget(name, {out});
    const Json made_from = book_.RequestOf(name), wanted = SettingsOf(FieldsToJson(part), run);
    const auto text = [](const Json& settings) { return WithoutPlaces(settings, PlacesOfScores()).dump(); };
    if (made_from.is_object() && text(made_from.value("settings", Json())) != text(wanted))
      std::filesystem::remove(out);
  });
}

// Ratios of other pictures, which no stage may ask for again. Masks and the rest are written over when one does.
void Runner::RemoveOldRatios() {
  const Json made_from = book_.RequestOf("foreground score");
  if (plan_.recipe.data.train.empty() || !made_from.is_object()) return;
  if (made_from.value("inputs", Json::object()).value("data", "") ==
      book_.FingerprintOfPictures(plan_.recipe.data.train))
    return;
  for (const char* name : {"ratios.tsv", "ratios.json", "skipped.tsv", "model-skipped.tsv"})
    std::filesystem::remove(plan_.folder / "foreground" / name);
}

void Runner::WarnOfIdleProcesses() {
  const std::vector<const ArmPlan*> arms = plan_.Chosen();
  const PretrainConfig& first = arms.front()->recipe.pretrain.config;
  if (!Allowed("pretrain") || arms.size() * plan_.seeds.size() > 1 || SharesPretraining(first)) return;
  if (!CanConnectTensors()) {
    progress_.Warn("process 0 will pretrain alone: the headers of gloo were missing when this program was built");
    return;
  }
  progress_.Warn(
      Format("process 0 will pretrain alone: `pretrain.accumulate` = {} gives {} processes too few parts of a step",
             first.accumulate, group_.size()));
}

void Runner::Go() {
  if (Allowed("pretrain") || Allowed("eval")) TakeOverSeeds();
  WarnOfLeftOut();
  // What --only leaves out and is not there would stop the run after some of its work.
  for (const PlannedStage& stage : stages_) book_.CheckOnly(stage.name, stage.outputs);
  if (Allowed("eval") && AsksForScores(plan_) && plan_.recipe.data.test.empty()) {
    progress_.Warn("no scores will be made: the recipe names no test images (`data.test`)");
  }
  SweepRunFolder(plan_.folder);
  WriteFile(plan_.folder / "recipe.toml", PlanToToml(plan_));
  WriteJson(plan_.folder / "environment.json", DescribeEnvironment(plan_.recipe.run));
  WarnOfIdleProcesses();
  for (const ArmPlan* arm : plan_.Chosen()) {
    for (const uint64_t seed : plan_.seeds) {
      if (Allowed("pretrain") || Allowed("eval")) RemoveOldScores(*arm, seed);
    }
  }
  if (only_.empty()) RemoveOldRatios();
  for (size_t i = 0; i < stages_.size();) {
    if (const size_t end = EndOfSideBySide(i); end > i) {
      PretrainSideBySide(std::span(stages_).subspan(i, end - i));
      i = end;
      continue;
    }
    Make(stages_[i]);
    if (const Path& scratch = stages_[i].scratch; !scratch.empty()) std::filesystem::remove_all(scratch);
    ++i;
  }
  const bool shows_pictures =
      std::any_of(stages_.begin(), stages_.end(), [](const PlannedStage& stage) { return stage.name == "gallery"; });
  if (Allowed("gallery") && !shows_pictures && AllArms()) book_.Forget("gallery", {plan_.folder / "gallery"});
  Report();
}

}  // namespace genview
