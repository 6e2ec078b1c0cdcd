#include "cli/tasks.h"

#include <ATen/Parallel.h>
#include <algorithm>
#include <cstdlib>
#include <exception>

#include "cli/processes.h"
#include "genview/base/forwarding_progress.h"
#include "genview/tensor/device.h"

namespace genview {
namespace {

class ShareOfThreads {
 public:
  explicit ShareOfThreads(const Group& group) : before_(at::get_num_threads()) {
    if (group.size() == 1 || std::getenv(kSharesCores) == nullptr || std::getenv("OMP_NUM_THREADS") != nullptr) return;
    at::set_num_threads(static_cast<int>(std::max<int64_t>(1, before_ / group.size())));
  }
  ~ShareOfThreads() {
    if (at::get_num_threads() != before_) at::set_num_threads(before_);
  }
  ShareOfThreads(const ShareOfThreads&) = delete;
  ShareOfThreads& operator=(const ShareOfThreads&) = delete;

 private:
  int before_;
};

// Work of this process alone that ends, as when the user stops it, where another process cannot go on.
class WatchingProgress : public ForwardingProgress {
 public:
  WatchingProgress(Progress& shown, Group& group) : ForwardingProgress(shown), group_(group) {}

  void Warn(std::string_view message) override {
    if (group_.rank() == 0) ForwardingProgress::Warn(message);
    else warnings_.emplace_back(message);
  }
  bool Stopped() const override {
    try {
      group_.Check();
    } catch (const PeerFailed&) {
      failed_ = std::current_exception();
    }
    return failed_ || ForwardingProgress::Stopped();
  }

  const std::vector<std::string>& warnings() const { return warnings_; }
  void ThrowIfPeerFailed() const {
    if (failed_) std::rethrow_exception(failed_);
  }

 private:
  Group& group_;
  std::vector<std::string> warnings_;
  mutable std::exception_ptr failed_;
};

Json PretrainAlone(Pretraining pretraining, Progress& progress, Group& group) {
  WatchingProgress watching(progress, group);
  OpenStage& stage = pretraining.stage;
  stage.Start();
  try {
    const PretrainSummary done = Pretrain(pretraining.config, watching);
    stage.Finish(CountsOf(done));
    return {{"skipped", done.skipped}, {"seconds", stage.Seconds()}, {"warnings", watching.warnings()}};
  } catch (const Interrupted&) {
    stage.Pause();
    watching.ThrowIfPeerFailed();
    throw;
  }
}

// The first for process 0, which shows how it goes; of the others those that this process was the first to ask for. By
// their number.
Json TakePretrainings(Group& group, Progress& progress, const std::vector<Pretraining>& all,
                      const std::function<void(size_t)>& begins) {
  Json done = Json::object();
  for (size_t i = 0; i < all.size(); ++i) {
    if (i == 0 ? group.rank() != 0 : !group.Claim("pretrain " + all[i].config.out)) continue;
    begins(i);
    done[std::to_string(i)] = PretrainAlone(all[i], progress, group);
  }
  return done;
}

template <class Config>
Config ConfigOf(const Json& task) {
  Config config;
  ReadFields(config, task, {.file = "task of process 0", .prefix = "", .lines = nullptr});
  return config;
}

template <class Config>
void Call(Group& group, const char* stage, const Config& config) {
  if (group.size() > 1) group.Broadcast(Json{{"stage", stage}, {"config", FieldsToJson(config)}}.dump());
}

}  // namespace

ViewsSummary Shared(Group& group, Progress& progress, const ViewsConfig& config) {
  const ShareOfThreads threads(group);
  Call(group, "views", config);
  return GenerateViews(config, progress, group);
}

ScoreSummary Shared(Group& group, Progress& progress, const ScoreConfig& config) {
  const ShareOfThreads threads(group);
  Call(group, "foreground score", config);
  return ScoreForeground(config, progress, group);
}

FeaturesSummary Shared(Group& group, Progress& progress, const FeaturesConfig& config) {
  const ShareOfThreads threads(group);
  Call(group, "features", config);
  return ExtractFeatures(config, progress, group);
}

PretrainSummary Shared(Group& group, Progress& progress, const PretrainConfig& config) {
  const ShareOfThreads threads(group);
  Call(group, "pretrain", config);
  return Pretrain(config, progress, group);
}

StageCounts CountsOf(const PretrainSummary& done) {
  return {"images", done.images, done.images - done.skipped, done.skipped};
}

std::vector<PretrainOutcome> PretrainEach(Group& group, Progress& progress, const std::vector<Pretraining>& all,
                                          const std::function<void(size_t)>& begins) {
  const ShareOfThreads threads(group);
  Json list = Json::array();
  for (const auto& [config, stage] : all) list.push_back({{"config", FieldsToJson(config)}, {"stage", stage.ToJson()}});
  if (group.size() > 1) group.Broadcast(Json{{"stage", "pretrain each"}, {"list", list}}.dump());
  const std::vector<std::string> told = group.Gather(TakePretrainings(group, progress, all, begins).dump());
  std::vector<PretrainOutcome> outcomes(all.size());
  size_t answers = 0;
  for (size_t rank = 0; rank < told.size(); ++rank) {
    const Json taken = ParseJson(told[rank], "what a process did");
    for (const auto& [number, done] : taken.items()) {
      ++answers;
      outcomes.at(std::stoul(number)) = {
          .skipped = done.at("skipped"), .seconds = done.at("seconds"), .elsewhere = rank > 0};
      for (const Json& warning : done.at("warnings")) progress.Warn(warning.get<std::string>());
    }
  }
  GENVIEW_CHECK(answers == all.size(), "every pretraining is one process's");
  return outcomes;
}

int ServeTasks(Group& group, Progress& progress) {
  const ShareOfThreads threads(group);
  while (true) {
    const Json task = ParseJson(group.Broadcast(""), "task of process 0");
    const std::string stage = task.value("stage", "");
    const Json config = task.value("config", Json());
    if (stage == "views") GenerateViews(ConfigOf<ViewsConfig>(config), progress, group);
    else if (stage == "foreground score") ScoreForeground(ConfigOf<ScoreConfig>(config), progress, group);
    else if (stage == "features") ExtractFeatures(ConfigOf<FeaturesConfig>(config), progress, group);
    else if (stage == "pretrain") Pretrain(ConfigOf<PretrainConfig>(config), progress, group);
    else if (stage == "pretrain each") {
      std::vector<Pretraining> all;
      for (const Json& each : task.at("list"))
        all.push_back({ConfigOf<PretrainConfig>(each.at("config")), OpenStage::FromJson(each.at("stage"))});
      group.Gather(TakePretrainings(group, progress, all, [](size_t) {}).dump());
    } else return task.value("code", 1);
  }
}

void EndTasks(Group& group, int code) {
  if (group.size() > 1) group.Broadcast(Json{{"code", code}}.dump());
}

}  // namespace genview
