#include "cli/tasks.h"

namespace genview {
namespace {

template <class Config>
Config ConfigOf(const Json& task) {
  Config config;
  ReadFields(config, task.at("config"), {.file = "task of process 0", .prefix = "", .lines = nullptr});
  return config;
}

template <class Config>
void Call(Group& group, const char* stage, const Config& config) {
  if (group.size() > 1) group.Broadcast(Json{{"stage", stage}, {"config", FieldsToJson(config)}}.dump());
}

}  // namespace

ViewsSummary Shared(Group& group, Progress& progress, const ViewsConfig& config) {
  Call(group, "views", config);
  return GenerateViews(config, progress, group);
}

ScoreSummary Shared(Group& group, Progress& progress, const ScoreConfig& config) {
  Call(group, "foreground score", config);
  return ScoreForeground(config, progress, group);
}

FeaturesSummary Shared(Group& group, Progress& progress, const FeaturesConfig& config) {
  Call(group, "features", config);
  return ExtractFeatures(config, progress, group);
}

PretrainSummary Shared(Group& group, Progress& progress, const PretrainConfig& config) {
  Call(group, "pretrain", config);
  return Pretrain(config, progress, group);
}

int ServeTasks(Group& group, Progress& progress) {
  while (true) {
    const Json task = ParseJson(group.Broadcast(""), "task of process 0");
    const std::string stage = task.value("stage", "");
    if (stage == "views") GenerateViews(ConfigOf<ViewsConfig>(task), progress, group);
    else if (stage == "foreground score") ScoreForeground(ConfigOf<ScoreConfig>(task), progress, group);
    else if (stage == "features") ExtractFeatures(ConfigOf<FeaturesConfig>(task), progress, group);
    else if (stage == "pretrain") Pretrain(ConfigOf<PretrainConfig>(task), progress, group);
    else return task.value("code", 1);
  }
}

void EndTasks(Group& group, int code) {
  if (group.size() > 1) group.Broadcast(Json{{"code", code}}.dump());
}

}  // namespace genview
