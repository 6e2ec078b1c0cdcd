// The work of a job with several processes: process 0 runs the command and calls the others where a stage can be
// shared; they wait for its calls until it is done. Stages that cannot be shared are made by process 0 alone.
//
//   const ViewsSummary done = Shared(*args.group, progress, config);     // in process 0
//   return ServeTasks(group, progress);                                   // in all others: until process 0 is done
//
// While processes that were started as a share of a machine (processes.h) work together, arithmetic takes that share of
// its cores in each, unless OMP_NUM_THREADS says how many threads.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/stage_book.h"
#include "genview/dist/group.h"
#include "genview/eval/features.h"
#include "genview/foreground/score.h"
#include "genview/pretrain/pretrain.h"
#include "genview/views/generate.h"

namespace genview {

ViewsSummary Shared(Group& group, Progress& progress, const ViewsConfig& config);
ScoreSummary Shared(Group& group, Progress& progress, const ScoreConfig& config);
FeaturesSummary Shared(Group& group, Progress& progress, const FeaturesConfig& config);
PretrainSummary Shared(Group& group, Progress& progress, const PretrainConfig& config);
StageCounts CountsOf(const PretrainSummary& done);

// A pretraining and its page in the run's book, which is finished or paused by the process that makes it.
struct Pretraining {
  PretrainConfig config;
  OpenStage stage;
};
struct PretrainOutcome {
  int64_t skipped = 0;
  double seconds = 0;
  bool elsewhere = false;  // in another process than 0
};
// Each by one process alone, whichever is free: what they would make one after another, side by side. Process 0 says
// which it begins; warnings of the others are its own at the end.
std::vector<PretrainOutcome> PretrainEach(Group& group, Progress& progress, const std::vector<Pretraining>& all,
                                          const std::function<void(size_t)>& begins);

int ServeTasks(Group& group, Progress& progress);  // the exit code of process 0
void EndTasks(Group& group, int code);             // in process 0

}  // namespace genview
