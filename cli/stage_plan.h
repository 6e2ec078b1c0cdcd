// The stages that a plan asks for, before any of them is made: how many there are, what each leaves, and which files of
// the user's it reads. Runner makes them in this order.
//
//   for (const PlannedStage& stage : StagesOf(plan, /*only=*/{})) Print("{}\n", stage.name);
//   CheckInputs(plan, {});                       // throws where a picture, encoder or generator is not there
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/run_plan.h"

namespace genview {

// A file or folder that a key of the recipe names.
struct StageInput {
  std::string key, value;
};

struct PlannedStage {
  std::string name;                // "pretrain genview"
  Path output;                     // there when the stage is done
  std::vector<StageInput> inputs;  // those that are set
};

// The names that a stage has for people and in the book.
std::string StageName(const RunPlan& plan, std::string_view stage, const ArmPlan& arm, uint64_t seed);
std::string ViewsStageName(const ArmPlan& arm);

// `only` as Runner has it. Each stage once, after those that it needs.
std::vector<PlannedStage> StagesOf(const RunPlan& plan, const std::vector<std::string>& only);

// Throws Error for the first input of these stages that is not there, and where scores are asked for and pictures have
// no classes.
void CheckInputs(const RunPlan& plan, const std::vector<std::string>& only);

bool AsksForScores(const RunPlan& plan);  // whatever it has to test on

}  // namespace genview
