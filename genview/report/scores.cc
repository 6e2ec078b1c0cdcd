#include "genview/report/scores.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "genview/base/text.h"
#include "genview/records/mean_interval.h"
#include "genview/records/records.h"

namespace genview {
namespace {

int EvalRank(const std::string& eval) { return eval == "linear" ? 0 : eval == "knn" ? 1 : 2; }

void Summarise(ArmScore& score) {
  if (score.seeds.size() == 1) {
    score.value = score.seeds[0].value;
    score.low = score.seeds[0].low;
    score.high = score.seeds[0].high;
    return;
  }
  std::vector<double> values;
  for (const SeedScore& seed : score.seeds) values.push_back(seed.value);
  const MeanInterval mean = MeanWithInterval(values);
  score.value = mean.mean;
  score.low = std::max(0.0, mean.low);
  score.high = std::min(100.0, mean.high);
}

std::vector<Path> ScoreFiles(const Path& folder) {
  std::vector<Path> files;
  std::error_code code;
  for (std::filesystem::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    if (it->path().extension() == ".json" && !it->path().filename().string().starts_with(".")) files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// The encoder that the pretraining in `folder` ended with; empty while it has not.
std::string TrainedEncoder(const Path& folder) {
  const Path file = folder / "pretrain" / "summary.json";
  std::error_code code;
  return std::filesystem::is_regular_file(file, code) ? JsonString(ReadJson(file), "encoder", "", file.string()) : "";
}

}  // namespace

Path SeedFolder(const Path& run, const std::string& arm, const std::vector<uint64_t>& seeds, uint64_t seed) {
  return seeds.size() > 1 ? run / arm / Format("seed-{}", seed) : run / arm;
}

std::vector<ArmScore> CollectScores(const Path& run, const std::vector<std::string>& arms, const std::vector<uint64_t>& seeds) {
  std::vector<ArmScore> scores;
  for (const auto& arm : arms) {
    std::map<std::pair<int, std::string>, ArmScore> found;  // by eval and score, in the order they are shown
    for (const uint64_t seed : seeds) {
      const Path folder = SeedFolder(run, arm, seeds, seed);
      const std::string encoder = TrainedEncoder(folder);
      for (const Path& file : ScoreFiles(folder / "eval")) {
        const EvalResult result = EvalResultFromJson(ReadJson(file), file.string());
        if (encoder.empty() || result.checkpoint != encoder) continue;
        const auto add = [&](const std::string& name, double value, double low, double high) {
          ArmScore& score = found[{EvalRank(result.kind), Format("{} {}", result.kind, name)}];
          if (score.seeds.empty()) {
            score.arm = arm;
            score.eval = result.kind;
            score.score = name;
            score.images = result.images;
            score.classes = result.classes;
            score.checkpoint = result.checkpoint;
          }
          score.seeds.push_back({seed, value, low, high});
        };
        add("top1", result.top1, result.top1_low, result.top1_high);
        const auto hits = static_cast<int64_t>(std::llround(result.top5 / 100 * static_cast<double>(result.images)));
        const auto [low, high] = WilsonInterval(hits, result.images);
        if (result.classes > 5) add("top5", result.top5, 100 * low, 100 * high);
      }
    }
    for (auto& [key, score] : found) {
      Summarise(score);
      scores.push_back(std::move(score));
    }
  }
  return scores;
}

Json ScoresToJson(const std::vector<ArmScore>& scores) {
  Json records = Json::array();
  for (const ArmScore& score : scores) {
    Json seeds = Json::array();
    for (const SeedScore& seed : score.seeds) {
      seeds.push_back({{"seed", seed.seed}, {"value", seed.value}, {"low", seed.low}, {"high", seed.high}});
    }
    records.push_back({{"arm", score.arm}, {"eval", score.eval}, {"score", score.score}, {"unit", "percent"},
                       {"value", score.value}, {"low", score.low}, {"high", score.high},
                       {"interval", score.seeds.size() > 1 ? "95% t over seeds" : "95% Wilson over images"},
                       {"images", score.images}, {"classes", score.classes}, {"checkpoint", score.checkpoint}, {"seeds", seeds}});
  }
  return {{"format", 1}, {"results", records}};
}

Difference Compare(const ArmScore& arm, const ArmScore& baseline) {
  std::vector<double> paired;
  for (const SeedScore& a : arm.seeds) {
    for (const SeedScore& b : baseline.seeds) {
      if (a.seed == b.seed) paired.push_back(a.value - b.value);
    }
  }
  if (paired.size() > 1) {
    const MeanInterval mean = MeanWithInterval(paired);
    return {mean.mean, mean.low, mean.high};
  }
  const double difference = arm.value - baseline.value;
  const auto join = [](double a, double b) { return std::sqrt(a * a + b * b); };
  return {difference, difference - join(arm.value - arm.low, baseline.high - baseline.value),
          difference + join(arm.high - arm.value, baseline.value - baseline.low)};
}

}  // namespace genview
