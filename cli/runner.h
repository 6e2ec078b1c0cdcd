// Makes the stages of a plan, but for those that the run's folder holds already.
//
//   Runner runner(plan, /*only=*/{}, progress);
//   runner.Go();                          // ends with results.json and report.html
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/run_plan.h"
#include "cli/stage_book.h"
#include "cli/stage_plan.h"
#include "cli/stage_progress.h"
#include "genview/dist/group.h"
#include "genview/report/scores.h"

namespace genview {

class Runner {
 public:
  Runner(RunPlan plan, std::vector<std::string> only, Progress& progress, Group& group = Alone());

  void Go();
  const std::vector<ArmScore>& scores() const { return scores_; }
  Path report() const { return plan_.folder / "report.html"; }
  const std::string& headline() const { return headline_; }
  std::vector<Path> encoders() const;  // of every arm and seed, those that are there

 private:
  void Make(const PlannedStage& stage);
  void PretrainSideBySide(std::span<const PlannedStage> stages);
  size_t EndOfSideBySide(size_t begin) const;
  bool SharesPretraining(const PretrainConfig& config) const;
  bool SharesAllPretraining() const;
  void Report();
  bool AllArms() const;
  bool Allowed(std::string_view stage) const;
  void TakeOverSeeds();
  std::vector<std::string> WhatDiffers(const PlannedStage& stage);
  void WarnOfLeftOut();
  void RemoveOldScores(const ArmPlan& arm, uint64_t seed);
  void RemoveOldRatios();
  void WarnOfIdleProcesses();

  RunPlan plan_;
  std::vector<std::string> only_;
  Group& group_;  // shares the stages that can be shared
  std::vector<PlannedStage> stages_;
  StageProgress progress_;
  StageBook book_;
  std::vector<ArmScore> scores_;
  std::string headline_;
};

}  // namespace genview
