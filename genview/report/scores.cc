#include "genview/report/scores.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "genview/base/text.h"
#include "genview/records/records.h"

namespace genview {
namespace {

constexpr const char *kWilson = "95% Wilson over images", *kDraws = "95% t over draws", *kSeeds = "95% t over seeds";

int EvalRank(const std::string& eval) {
  int rank = 0;
  for (const auto& [kind, name] : kEvals) {
    if (eval == kind) return rank;
    ++rank;
  }
  return rank;
}

// One, or several that say nothing about how far others would be from them: scores are counts of pictures, which may be
// the same by chance, and Student's interval of them has no width.
bool AllSame(const std::vector<double>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return *high - *low < 1e-9;
}

void Summarise(ArmScore& score) {
  std::vector<double> values;
  for (const SeedScore& seed : score.seeds) values.push_back(seed.value);
  if (AllSame(values)) {
    score.value = score.seeds[0].value;
    score.low = score.seeds[0].low;
    score.high = score.seeds[0].high;
    return;
  }
  const MeanInterval mean = MeanOfPercents(values);
  score.interval = kSeeds;
  score.value = mean.mean;
  score.low = mean.low;
  score.high = mean.high;
}

std::vector<Path> ScoreFiles(const Path& folder) {
  std::vector<Path> files;
  std::error_code code;
  for (std::filesystem::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    if (it->path().extension() == ".json" && !it->path().filename().string().starts_with("."))
      files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// The encoder that the pretraining in `folder` ended with, "" while it goes on; nothing in a folder that somebody put
// together, which says neither.
std::optional<std::string> TrainedEncoder(const Path& folder) {
  const Path pretrain = folder / "pretrain", file = pretrain / "summary.json";
  std::error_code code;
  if (std::filesystem::is_regular_file(file, code)) return JsonString(ReadJson(file), "encoder", "", file.string());
  if (std::filesystem::is_directory(pretrain / "checkpoints", code)) return "";
  return std::nullopt;
}

// A score of one seed with its interval at another confidence: over pictures it is made again, over draws it is as many
// times as wide as Student's quantile.
MeanInterval IntervalAt(const ArmScore& score, const SeedScore& seed, double confidence) {
  if (confidence == kConfidence) return {seed.value, seed.low, seed.high};
  if (score.draws > 0) {
    const int64_t freedom = std::max<int64_t>(1, score.draws - 1);
    const double wider = StudentQuantile(confidence, freedom) / StudentQuantile(kConfidence, freedom);
    return {seed.value, std::max(0.0, seed.value - wider * (seed.value - seed.low)),
            std::min(100.0, seed.value + wider * (seed.high - seed.value))};
  }
  const auto hits = static_cast<int64_t>(std::llround(seed.value / 100 * static_cast<double>(score.images)));
  const auto [low, high] = WilsonInterval(hits, score.images, NormalQuantile(confidence));
  return {seed.value, 100 * low, 100 * high};
}

// The same of a score as it is shown.
MeanInterval IntervalAt(const ArmScore& score, double confidence) {
  if (confidence == kConfidence) return {score.value, score.low, score.high};
  std::vector<double> values;
  for (const SeedScore& seed : score.seeds) values.push_back(seed.value);
  return score.interval == kSeeds ? MeanOfPercents(values, confidence) : IntervalAt(score, score.seeds[0], confidence);
}

Difference Join(const MeanInterval& a, const MeanInterval& b) {
  const auto both = [](double x, double y) { return std::sqrt(x * x + y * y); };
  const double value = a.mean - b.mean;
  return {value, value - both(a.mean - a.low, b.high - b.mean), value + both(a.high - a.mean, b.mean - b.low), {}};
}

}  // namespace

std::string EvalName(const std::string& eval) {
  for (const auto& [kind, name] : kEvals) {
    if (eval == kind) return name;
  }
  return eval;
}

Path SeedFolder(const Path& run, const std::string& arm, bool several, uint64_t seed) {
  return several ? run / arm / Format("seed-{}", seed) : run / arm;
}

std::string SeedStage(std::string_view stage, const std::string& arm, bool several, uint64_t seed) {
  return several ? Format("{} {} seed {}", stage, arm, seed) : Format("{} {}", stage, arm);
}

std::vector<ArmScore> CollectScores(const Path& run, const std::vector<std::string>& arms,
                                    const std::vector<uint64_t>& seeds) {
  std::vector<ArmScore> scores;
  for (const auto& arm : arms) {
    std::map<std::pair<int, std::string>, ArmScore> found;  // by eval and score, in the order they are shown
    for (const uint64_t seed : seeds) {
      const Path folder = SeedFolder(run, arm, seeds.size() > 1, seed);
      const std::optional<std::string> encoder = TrainedEncoder(folder);
      for (const Path& file : ScoreFiles(folder / "eval")) {
        const EvalResult result = EvalResultFromJson(ReadJson(file), file.string());
        if (encoder && result.checkpoint != *encoder) continue;
        if (file.stem().string() != result.kind) continue;  // a second one of a kind would count as one more seed
        const auto add = [&](const std::string& name, const char* interval, double value, double low, double high) {
          ArmScore& score = found[{EvalRank(result.kind), Format("{} {}", result.kind, name)}];
          if (score.seeds.empty()) {
            score.arm = arm;
            score.eval = result.kind;
            score.score = name;
            score.interval = interval;
            score.images = result.images;
            score.classes = result.classes;
            score.checkpoint = result.checkpoint;
            if (result.settings.is_object()) score.test = JsonString(result.settings, "test", "", file.string());
            if (score.interval == kDraws) score.draws = JsonInt(result.settings, "draws", 1, file.string());
          }
          score.seeds.push_back({seed, value, low, high});
        };
        add("top1", result.kind == "fewshot" ? kDraws : kWilson, result.top1, result.top1_low, result.top1_high);
        const auto hits = static_cast<int64_t>(std::llround(result.top5 / 100 * static_cast<double>(result.images)));
        const auto [low, high] = WilsonInterval(hits, result.images);
        if (result.classes <= 5) continue;
        if (result.top5_range) add("top5", kDraws, result.top5, result.top5_range->first, result.top5_range->second);
        else add("top5", kWilson, result.top5, 100 * low, 100 * high);
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
    records.push_back({{"arm", score.arm},
                       {"eval", score.eval},
                       {"score", score.score},
                       {"unit", "percent"},
                       {"value", score.value},
                       {"low", score.low},
                       {"high", score.high},
                       {"interval", score.interval},
                       {"images", score.images},
                       {"classes", score.classes},
                       {"checkpoint", score.checkpoint},
                       {"seeds", seeds}});
  }
  return {{"format", 1}, {"results", records}};
}

Difference Compare(const ArmScore& arm, const ArmScore& baseline, double confidence) {
  std::vector<std::pair<SeedScore, SeedScore>> common;
  for (const SeedScore& a : arm.seeds) {
    for (const SeedScore& b : baseline.seeds) {
      if (a.seed == b.seed) common.emplace_back(a, b);
    }
  }
  std::vector<double> differences;
  for (const auto& [a, b] : common) differences.push_back(a.value - b.value);
  Difference result;
  if (common.empty()) {
    result = Join(IntervalAt(arm, confidence), IntervalAt(baseline, confidence));
  } else if (AllSame(differences)) {
    result = Join(IntervalAt(arm, common[0].first, confidence), IntervalAt(baseline, common[0].second, confidence));
  } else {
    const MeanInterval mean = MeanWithInterval(differences, confidence);
    result = {mean.mean, mean.low, mean.high, {}, /*paired=*/true};
  }
  for (const auto& [a, b] : common) result.seeds.push_back(a.seed);
  return result;
}

}  // namespace genview
