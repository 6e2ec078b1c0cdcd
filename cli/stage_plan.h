// The stages that a plan asks for, in the order that their inputs ask for: what each is made from, how, and what it
// leaves. They are counted, checked and shown before any of them is made; Runner makes them.
//
//   for (const PlannedStage& stage : StagesOf(plan, /*only=*/{})) Print("{}\n", stage.name);
//   CheckInputs(plan, {});                       // throws where a picture, encoder or generator is not there
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/run_plan.h"
#include "cli/stage_book.h"
#include "cli/stage_progress.h"
#include "genview/dist/group.h"

namespace genview {

// What an input is read as, which says what of it counts.
enum class InputKind { kFiles, kPictures, kEncoder, kGenerator };

// What a stage is made from: of the user, by a key of the recipe, or of an earlier stage.
struct StageInput {
  std::string name;     // in the request: "encoder"
  std::string value;    // a file, a folder, or a source of pictures
  std::string key{};    // "foreground.encoder"; "" where a stage makes it
  std::string stage{};  // that makes it
  InputKind kind = InputKind::kFiles;
};

struct PlannedStage {
  std::string name;  // "pretrain genview"
  int64_t version = 1;
  Json settings;
  std::vector<StageInput> inputs;                        // of two with one name the last counts
  std::vector<Path> outputs, owned;                      // as of a StageRequest
  std::optional<std::vector<std::string>> cleared_by{};  // likewise
  std::vector<std::string> places{};                     // of `settings`, as of a StageRequest
  bool keeps_sizes = false;                              // likewise
  std::function<StageCounts(Group&, StageProgress&)> work;
  std::optional<PretrainConfig> pretraining{};  // that `work` makes
  Path scratch{};                               // no later stage needs it
};

// The names that a stage has for people and in the book.
std::string StageName(const RunPlan& plan, std::string_view stage, const ArmPlan& arm, uint64_t seed);

// Of the chosen arms, and of those whose encoders they take. `only`: foreground, generator, views, pretrain, eval,
// gallery, report; empty = all. Each stage once, after those that it needs, whether `only` has them or not.
// `side_by_side`: all that pretrainings need comes before them, scores after. Throws UsageError for what cannot be
// planned: an encoder that is not named, an arm that would need its own.
std::vector<PlannedStage> StagesOf(const RunPlan& plan, const std::vector<std::string>& only,
                                   bool side_by_side = false);

// With the fingerprints of its inputs, which are there.
StageRequest RequestOf(const PlannedStage& stage, StageBook& book);

// A stage's own settings and those of the run, without what is of the machine.
Json SettingsOf(Json own, const RunOptions& run);

Path ScoreFile(const RunPlan& plan, const ArmPlan& arm, uint64_t seed, std::string_view kind);

// Throws Error for the first input of these stages that is not set or not there, and where scores are asked for and
// pictures have no classes.
void CheckInputs(const RunPlan& plan, const std::vector<std::string>& only);

// Settings of a score that name an input.
std::vector<std::string> PlacesOfScores();

bool AsksForScores(const RunPlan& plan);  // of a chosen arm, whatever it has to test on

}  // namespace genview
