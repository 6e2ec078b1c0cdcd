#include "genview/eval/fewshot.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "genview/base/error.h"
#include "genview/eval/knn_votes.h"

namespace genview {
namespace {

using OneDraw = std::vector<std::vector<int64_t>>;  // per class: pictures in the order drawn

std::vector<OneDraw> DrawAll(const Evaluation& evaluation, const FewshotConfig& config) {
  const auto source = evaluation.train_source();
  std::vector<std::vector<int64_t>> of_class(source->classes().size());
  for (const int64_t i : evaluation.TrainIndices()) of_class[static_cast<size_t>(source->item(i).label)].push_back(i);
  const int64_t most = *std::max_element(config.shots.begin(), config.shots.end());
  for (size_t label = 0; label < of_class.size(); ++label) {
    const auto there = static_cast<int64_t>(of_class[label].size());
    if (there >= most) continue;
    throw UsageError({.what = Format("{} pictures of each class are asked for, and the class \"{}\" has {}", most,
                                     source->classes()[label], there),
                      .where = config.inputs.train,
                      .next = "ask for fewer in `shots`, or give more pictures"});
  }
  std::vector<OneDraw> draws;
  for (int64_t draw = 0; draw < config.draws; ++draw) {
    draws.emplace_back();
    for (size_t label = 0; label < of_class.size(); ++label) {
      const Seed seed = evaluation.seed().With(static_cast<uint64_t>(draw)).With(source->classes()[label]);
      const auto order = Permutation(seed, static_cast<int64_t>(of_class[label].size()));
      draws.back().emplace_back();
      for (int64_t k = 0; k < most; ++k) {
        draws.back().back().push_back(of_class[label][static_cast<size_t>(order[static_cast<size_t>(k)])]);
      }
    }
  }
  return draws;
}

std::vector<int64_t> AllOf(const std::vector<OneDraw>& draws) {
  std::vector<int64_t> all;
  for (const OneDraw& draw : draws) {
    for (const auto& own : draw) all.insert(all.end(), own.begin(), own.end());
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

// The first `shots` pictures of each class, as rows of `train`; those that could not be read are missing.
Tensor RowsOf(const OneDraw& draw, int64_t shots, const std::unordered_map<int64_t, int64_t>& row_of) {
  std::vector<int64_t> rows;
  for (const auto& own : draw) {
    for (int64_t k = 0; k < shots; ++k) {
      const auto found = row_of.find(own[static_cast<size_t>(k)]);
      if (found != row_of.end()) rows.push_back(found->second);
    }
  }
  return at::tensor(rows, at::kLong);
}

void WriteDraws(const Path& out, const ImageSource& source, const std::vector<OneDraw>& draws) {
  std::string text = "draw\tplace\tid\n";
  for (size_t draw = 0; draw < draws.size(); ++draw) {
    for (const auto& own : draws[draw]) {
      for (size_t k = 0; k < own.size(); ++k) text += Format("{}\t{}\t{}\n", draw, k, TsvField(source.item(own[k]).id));
    }
  }
  WriteFile(out.parent_path() / (out.stem().string() + "-images.tsv"), text);
}

}  // namespace

Tensor ScoresByMeans(const Tensor& rows, const Tensor& labels, const Tensor& queries, int64_t classes) {
  const auto unit = [](const Tensor& x) { return x / x.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12); };
  // The sum points where the mean does. A class without a picture has a sum of 0 and is as near as what stands square
  // to it.
  const Tensor sums = at::zeros({classes, rows.size(1)}, rows.options()).index_add(0, labels, unit(rows));
  return at::matmul(unit(queries), unit(sums).t());
}

EvalResult EvalFewshot(const FewshotConfig& config, Progress& progress) {
  CheckRequired(config, {"command line", "eval.fewshot"});
  if (config.shots.empty()) {
    throw UsageError({.what = "no number of pictures per class is given",
                      .where = "eval.fewshot.shots",
                      .next = "give at least one, for example 5"});
  }
  Json settings = {{"shots", config.shots}, {"draws", config.draws}};
  Evaluation evaluation("fewshot", config.inputs, settings);
  EvalResult result;
  if (evaluation.Known(result, progress)) return result;

  const std::vector<OneDraw> draws = DrawAll(evaluation, config);
  const FeatureRows train = evaluation.Train(progress, AllOf(draws)), test = evaluation.Test(progress);
  std::unordered_map<int64_t, int64_t> row_of;  // by picture
  for (size_t row = 0; row < train.indices.size(); ++row) row_of[train.indices[row]] = static_cast<int64_t>(row);

  MeanInterval top1, top5;
  for (const int64_t shots : config.shots) {
    std::vector<double> firsts, fives;
    int64_t fewest = train.labels.size(0);
    for (const OneDraw& draw : draws) {
      progress.ThrowIfStopped();
      const Tensor rows = RowsOf(draw, shots, row_of);
      fewest = std::min(fewest, rows.size(0));
      const Tensor scores = ScoresByMeans(train.features.index_select(0, rows), train.labels.index_select(0, rows),
                                          test.features, evaluation.classes());
      const Hits hits = CountHits(scores, test.labels);
      firsts.push_back(100.0 * static_cast<double>(hits.top1) / static_cast<double>(hits.total));
      fives.push_back(100.0 * static_cast<double>(hits.top5) / static_cast<double>(hits.total));
    }
    top1 = MeanOfPercents(firsts);
    top5 = MeanOfPercents(fives);
    settings["top1_by_shots"][Format("{}", shots)] = {
        {"mean", top1.mean}, {"low", top1.low}, {"high", top1.high}, {"draws", firsts}};
    settings["train_images"] = fewest;  // of a draw; all have as many unless pictures could not be read
  }
  settings["protocol"] =
      "nearest class mean by cosine, frozen features of the centre crop; mean over draws, 95% interval of the mean";
  if (!config.inputs.out.empty()) WriteDraws(config.inputs.out, *evaluation.train_source(), draws);
  return evaluation.Finish(top1, top5, test.labels.size(0), std::move(settings));
}

}  // namespace genview
