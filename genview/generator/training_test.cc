#include "genview/generator/training.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include <c10/core/GradMode.h>

#include "genview/base/text.h"
#include "genview/generator/test_support.h"
#include "genview/models/blocks.h"

namespace genview {
namespace {

struct Toy {
  LinearWeights fc = MakeLinear(4, 2);
};
WeightList ListWeights(Toy& toy) {
  WeightList list;
  Append(list, "fc", toy.fc);
  return list;
}

// Regression onto a fixed map, from inputs that depend on the position in the stream alone.
struct ToyRun {
  explicit ToyRun(Path where, TrainingOptions given) : folder(std::move(where)), options(given) {
    InitWeights(ListWeights(toy), Seed(1));
    averaged = toy;
    CloneWeights(ListWeights(averaged));
  }
  void Run(Progress& progress) {
    Replicas<Toy> replicas(toy, options.shards);
    const Tensor truth = NormalTensor(Seed(2), {4, 2});
    const int64_t count = options.batch / options.shards;
    RunTraining({.folder = folder,
                 .name = "toy",
                 .identity = identity,
                 .weights = ListWeights(toy),
                 .averaged = ListWeights(averaged),
                 .replicas = replicas.Lists(),
                 .options = options,
                 .loss =
                     [&](int64_t step, int64_t shard, Json& row) {
                       std::vector<Tensor> rows;
                       for (int64_t i = 0; i < count; ++i) {
                         rows.push_back(NormalTensor(
                             Seed(3).With(static_cast<uint64_t>(step * options.batch + shard * count + i)), {4}));
                       }
                       const Tensor x = at::stack(rows);
                       row["first_input"] = x[0][0].item<double>();
                       return (Linear(replicas[shard].fc, x) - at::matmul(x, truth)).square().mean();
                     },
                 .review = {}},
                progress);
  }

  Path folder;
  TrainingOptions options;
  Json identity = {{"name", "toy"}};
  Toy toy, averaged;
};

TrainingOptions Small() {
  return {
      .steps = 12, .shards = 2, .batch = 8, .lr = 0.05, .warmup = 2, .average = 0.5, .save_every = 3, .log_every = 2};
}

TEST(RunTraining, LearnsAndGivesTheAveragedWeights) {
  const TemporaryFolder folder;
  TrainingOptions options = Small();
  options.steps = 300;
  ToyRun run(folder.path(), options);
  Progress progress;
  run.Run(progress);
  const Tensor truth = NormalTensor(Seed(2), {4, 2});
  EXPECT_LT((run.averaged.fc.weight.t() - truth).abs().max().item<double>(), 0.05);
}

TEST(RunTraining, StoppedAnywhereEndsWithTheSameBytes) {
  const TemporaryFolder whole, pieces;
  Progress quiet;
  ToyRun(whole.path(), Small()).Run(quiet);
  for (int64_t attempt = 0;; ++attempt) {
    ASSERT_LT(attempt, 20);
    StopAfterUpdates stop(1);
    try {
      ToyRun(pieces.path(), Small()).Run(stop);
      break;
    } catch (const Interrupted&) {
    }
  }
  EXPECT_EQ(FolderBytes(whole.path(), {"events.out"}), FolderBytes(pieces.path(), {"events.out"}));
}

TEST(RunTraining, LosingTheNewestCheckpointEndsWithTheSameBytes) {
  const TemporaryFolder whole, cut;
  Progress quiet;
  ToyRun(whole.path(), Small()).Run(quiet);
  TrainingOptions part = Small();
  part.stop_after = 6;
  ToyRun(cut.path(), part).Run(quiet);
  ToyRun(cut.path(), Small()).Run(quiet);
  EXPECT_EQ(FolderBytes(whole.path(), {"events.out"}), FolderBytes(cut.path(), {"events.out"}));
}

TEST(RunTraining, EveryStepIsToldOfHoweverRareTheRowsOfTheLog) {
  const TemporaryFolder folder;
  TrainingOptions options = Small();
  options.log_every = 100;
  RecordedProgress progress;
  ToyRun(folder.path(), options).Run(progress);
  const std::vector<RecordedProgress::Row> rows = progress.RowsOf("toy");
  ASSERT_EQ(std::ssize(rows), options.steps);
  for (int64_t i = 0; i < options.steps; ++i) {
    EXPECT_EQ(rows[static_cast<size_t>(i)].done, i + 1);
    EXPECT_EQ(rows[static_cast<size_t>(i)].wait_share, -1);  // nothing is read
  }
  EXPECT_EQ(ReadLines(folder.path() / "log.jsonl").size(), 1u);
}

TEST(RunTraining, ShardsGiveTheGradientOfTheWholeBatch) {
  const TemporaryFolder one, four;
  TrainingOptions options = Small();
  Progress quiet;
  options.shards = 1;
  ToyRun whole(one.path(), options);
  whole.Run(quiet);
  options.shards = 4;
  ToyRun parts(four.path(), options);
  parts.Run(quiet);
  EXPECT_TRUE(at::allclose(whole.averaged.fc.weight, parts.averaged.fc.weight, 1e-5, 1e-6));
}

TEST(RunTraining, AFinishedRunIsNotTrainedAgain) {
  const TemporaryFolder folder;
  Progress quiet;
  ToyRun first(folder.path(), Small());
  first.Run(quiet);
  ToyRun again(folder.path(), Small());
  again.toy.fc.weight.fill_(7);  // would show if it were trained
  again.Run(quiet);
  EXPECT_TRUE(at::equal(first.averaged.fc.weight, again.averaged.fc.weight));
}

TEST(RunTraining, OtherSettingsAreRefusedByName) {
  const TemporaryFolder folder;
  Progress quiet;
  const Json identity = {{"name", "toy"}, {"net", {{"width", 4}, {"channels", {8, 16}}}}, {"seed", 1}, {"gone", 0}};
  ToyRun first(folder.path(), Small());
  first.identity = identity;
  first.Run(quiet);
  const auto failure = [&](const Json& wanted) {
    ToyRun other(folder.path(), Small());
    other.identity = wanted;
    try {
      other.Run(quiet);
      return std::string("taken");
    } catch (const Error& error) {
      return error.text().what;
    }
  };
  Json wanted = identity;
  wanted["net"]["channels"] = {8, 32};
  wanted.erase("gone");
  EXPECT_EQ(failure(wanted), "the toy in this folder was trained with other settings or pictures (net.channels, gone)");
  wanted["net"]["width"] = 5;
  wanted["seed"] = 2;
  wanted["new"] = true;
  EXPECT_EQ(failure(wanted),
            "the toy in this folder was trained with other settings or pictures (net.width, net.channels, seed and 2 "
            "more)");
  EXPECT_EQ(failure(identity), "taken");
}

TEST(RunTraining, AnErrorInAShardReachesTheCaller) {
  const TemporaryFolder folder;
  ToyRun run(folder.path(), Small());
  Replicas<Toy> replicas(run.toy, 2);
  Progress quiet;
  EXPECT_THROW(RunTraining({.folder = folder.path(),
                            .name = "toy",
                            .identity = {},
                            .weights = ListWeights(run.toy),
                            .averaged = ListWeights(run.averaged),
                            .replicas = replicas.Lists(),
                            .options = Small(),
                            .loss = [](int64_t, int64_t shard, Json&) -> Tensor {
                              if (shard == 1) throw Error({.what = "no picture", .where = "here", .next = "none"});
                              return at::zeros({}).set_requires_grad(true);
                            },
                            .review = {}},
                           quiet),
               Error);
}

TEST(EndlessOrder, EveryEpochHasEveryNumberOnce) {
  const EndlessOrder order(Seed(5), 7);
  std::vector<int64_t> first = order.Indices(0, 7), second = order.Indices(7, 7);
  EXPECT_NE(first, second);
  const std::vector<int64_t> across = order.Indices(5, 4);
  EXPECT_EQ(across, (std::vector<int64_t>{first[5], first[6], second[0], second[1]}));
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  EXPECT_EQ(first, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(second, first);
}

TEST(EndlessOrder, IsTheSameFromAnyThread) {
  const EndlessOrder order(Seed(5), 10);
  std::vector<std::vector<int64_t>> got(4);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < got.size(); ++i)
    threads.emplace_back([&, i] { got[i] = order.Indices(static_cast<int64_t>(i) * 25, 25); });
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_EQ(got[i], EndlessOrder(Seed(5), 10).Indices(static_cast<int64_t>(i) * 25, 25));
}

}  // namespace
}  // namespace genview
