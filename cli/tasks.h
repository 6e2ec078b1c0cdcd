// The work of a job with several processes: process 0 runs the command and calls the others where a stage can be
// shared; they wait for its calls until it is done. Stages that cannot be shared are made by process 0 alone.
//
//   const ViewsSummary done = Shared(*args.group, progress, config);     // in process 0
//   return ServeTasks(group, progress);                                   // in all others: until process 0 is done
#pragma once

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

int ServeTasks(Group& group, Progress& progress);  // the exit code of process 0
void EndTasks(Group& group, int code);             // in process 0
}  // namespace genview
