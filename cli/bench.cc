// genview bench ...: this machine on real work.
#include <optional>

#include "cli/commands.h"
#include "cli/print.h"
#include "genview/data/bench.h"
#include "genview/eval/bench_features.h"
#include "genview/eval/bench_scores.h"
#include "genview/pretrain/bench_step.h"
#include "genview/tensor/device.h"
#include "genview/tensor/op_profile.h"
#include "genview/views/bench_views.h"

namespace genview {
namespace {

template <class Config>
struct BenchArgs {
  Config bench;
  bool json = false;
};
template <class Config, class Visit>
void VisitFields(BenchArgs<Config>& c, Visit&& visit) {
  VisitFields(c.bench, visit);
  visit("json", c.json, Any{}, "print the figures as JSON");
}

// Of a network's work, which consists of operators.
template <class Config>
struct NetworkBenchArgs : BenchArgs<Config> {
  bool profile = false;
};
template <class Config, class Visit>
void VisitFields(NetworkBenchArgs<Config>& c, Visit&& visit) {
  VisitFields(static_cast<BenchArgs<Config>&>(c), visit);
  visit("profile", c.profile, Any{}, "say how the time is divided among operators, too");
}

using LoaderArgs = BenchArgs<LoaderBenchConfig>;
using StepArgs = NetworkBenchArgs<BenchStepConfig>;
using FeaturesArgs = NetworkBenchArgs<BenchFeaturesConfig>;
using ViewsArgs = NetworkBenchArgs<BenchViewsConfig>;
using LinearArgs = BenchArgs<BenchLinearConfig>;
using KnnArgs = BenchArgs<BenchKnnConfig>;

// The figures as JSON or as text, with the profile if there is one.
void PrintFigures(Json json, const std::string& text, bool as_json,
                  const std::optional<OpProfile>& profile = std::nullopt) {
  if (profile && as_json) json["profile"] = OpProfileToJson(profile->Times());
  if (as_json) Print("{}\n", json.dump());
  else Print("{}{}", text, profile ? OpProfileToText(profile->Times()) : "");
}
void PrintFigures(const BenchFigures& figures, const char* unit, bool as_json,
                  const std::optional<OpProfile>& profile = std::nullopt) {
  PrintFigures(BenchFiguresToJson(figures), BenchFiguresToText(figures, unit), as_json, profile);
}

template <class Config>
std::optional<OpProfile> Profiling(const NetworkBenchArgs<Config>& args) {
  return args.profile ? std::optional<OpProfile>(std::in_place) : std::nullopt;
}

}  // namespace

std::vector<FieldInfo> BenchLoaderFields() { return DescribeFields<LoaderArgs>(); }

int RunBenchLoader(const Args& args, Progress& progress) {
  const auto config = ParseFields<LoaderArgs>(args);
  const LoaderBenchResult result = BenchLoader(config.bench, progress);
  const uint64_t peak = PeakMemoryBytes();
  PrintFigures(
      {{"images_per_second", result.images_per_second},
       {"images", result.images},
       {"seconds", result.seconds},
       {"threads", result.threads},
       {"skipped", result.skipped},
       {"peak_memory_bytes", peak}},
      Format("{:.0f} images/s with {} threads ({} images in {}, {} skipped), {} at most\n", result.images_per_second,
             result.threads, result.images, HumanSeconds(result.seconds), result.skipped, HumanBytes(peak)),
      config.json);
  return kOk;
}

std::vector<FieldInfo> BenchStepFields() { return DescribeFields<StepArgs>(); }

int RunBenchStep(const Args& args, Progress& progress) {
  const auto config = ParseFields<StepArgs>(args);
  const std::optional<OpProfile> profile = Profiling(config);
  const BenchStepResult result = BenchStep(config.bench, progress);
  const BenchFigures& f = result.figures;
  PrintFigures(BenchStepToJson(result),
               Format("{:.0f} pairs/s, {:.1f} ms a step ({:.1f} to {:.1f}), {} on {}, {}\n", f.images_per_second(),
                      f.times.median_ms, f.times.min_ms, f.times.max_ms, f.precision, f.device, BenchMemoryToText(f)),
               config.json, profile);
  return kOk;
}

std::vector<FieldInfo> BenchFeaturesFields() { return DescribeFields<FeaturesArgs>(); }

int RunBenchFeatures(const Args& args, Progress& progress) {
  const auto config = ParseFields<FeaturesArgs>(args);
  const std::optional<OpProfile> profile = Profiling(config);
  const BenchFeaturesResult result = BenchFeatures(config.bench, progress);
  Json json = BenchFiguresToJson(result.figures);
  json["wait_share"] = result.wait_share;
  PrintFigures(std::move(json), BenchFiguresToText(result.figures, "images"), config.json, profile);
  return kOk;
}

std::vector<FieldInfo> BenchViewsFields() { return DescribeFields<ViewsArgs>(); }

int RunBenchViews(const Args& args, Progress& progress) {
  const auto config = ParseFields<ViewsArgs>(args);
  const std::optional<OpProfile> profile = Profiling(config);
  const BenchFigures figures = BenchViews(config.bench, progress);
  PrintFigures(figures, "views", config.json, profile);
  return kOk;
}

std::vector<FieldInfo> BenchLinearFields() { return DescribeFields<LinearArgs>(); }

int RunBenchLinear(const Args& args, Progress& progress) {
  const auto config = ParseFields<LinearArgs>(args);
  PrintFigures(BenchLinear(config.bench, progress), "images", config.json);
  return kOk;
}

std::vector<FieldInfo> BenchKnnFields() { return DescribeFields<KnnArgs>(); }

int RunBenchKnn(const Args& args, Progress& progress) {
  const auto config = ParseFields<KnnArgs>(args);
  PrintFigures(BenchKnn(config.bench, progress), "images", config.json);
  return kOk;
}

}  // namespace genview
