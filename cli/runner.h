// All stages of a plan in the order that their inputs ask for. Each is made when something needs it, at most once, and
// not at all when the run's folder holds it already.
//
//   Runner runner(plan, /*only=*/{}, progress);
//   runner.Go();                          // ends with results.json and report.html
#pragma once

#include <map>
#include <set>
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
  // `only`: foreground, generator, views, pretrain, eval, gallery, report; empty = all.
  Runner(RunPlan plan, std::vector<std::string> only, Progress& progress, Group& group = Alone());

  void Go();
  const std::vector<ArmScore>& scores() const { return scores_; }
  Path report() const { return plan_.folder / "report.html"; }
  const std::string& headline() const { return headline_; }
  std::vector<Path> encoders() const;  // of every arm and seed, those that are there

 private:
  // Each makes what it is named after if need be, and says where it is.
  Path Encoder(const std::string& text);  // of a recipe's `encoder` key
  Path ForegroundModel();
  Path QualityModel(const ArmPlan& arm, const std::string& encoder);  // for an encoder of the quality's own
  Path Fitted(const std::string& name, const std::string& encoder, const Path& component, const Json& settings,
              const Path& out);
  Path Ratios();
  Path Generator(const std::string& text);
  Path Views(const ArmPlan& arm);
  Path Pretrained(const ArmPlan& arm, uint64_t seed);  // the checkpoint
  void PretrainSideBySide();                           // all that several processes will not share the steps of
  void Evaluate(const ArmPlan& arm, uint64_t seed);
  void Gallery();
  void Report();

  struct Pretraining {
    Path out;
    PretrainConfig config;
    StageRequest request;
  };
  Pretraining PretrainingOf(const ArmPlan& arm, uint64_t seed);
  void PretrainEachOf(std::vector<Pretraining> all);
  PretrainConfig PretrainOf(const ArmPlan& arm, uint64_t seed, std::map<std::string, std::string>& inputs);
  std::string DataFingerprint(const std::string& source);
  void Make(const StageRequest& request, const std::function<StageCounts()>& work);
  Json Settings(Json settings, const RunOptions& run) const;
  bool Allowed(std::string_view stage) const;
  void CheckArms() const;
  void CheckOnly();
  void RemoveOldScores(const ArmPlan& arm, uint64_t seed);
  void RemoveOldRatios();
  void WarnOfIdleProcesses();
  bool SharesPretraining(const ArmPlan& arm) const;

  RunPlan plan_;
  std::vector<std::string> only_;
  StageProgress progress_;
  Group& group_;  // shares the stages that can be shared
  StageBook book_;
  std::set<std::string> making_;             // arms whose encoder is being asked for, to find circles
  std::map<std::string, Path> made_;         // by stage name
  std::map<std::string, std::string> data_;  // source -> fingerprint
  std::vector<ArmScore> scores_;
  std::string headline_;
};

}  // namespace genview
