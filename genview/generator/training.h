// The loop that every network of this folder is trained by: AdamW, warm-up and cosine, an exponential average of the
// weights, checkpoints and a log. A run that was killed goes on from its newest checkpoint and ends with the same
// bytes.
//
// Each step's batch is dealt to a fixed number of shards, each computed by one thread on its own replica of the weights
// (the same memory, other gradients), and the gradients are averaged in the order of the shards: the result does not
// depend on the number of cores, and threads meet once a step instead of at every layer.
//
//   Replicas<Vae> replicas(vae, options.shards);
//   RunTraining({.folder = out / "autoencoder", .name = "autoencoder", .identity = FieldsToJson(config),
//                .weights = ListWeights(vae), .averaged = ListWeights(smooth), .replicas = replicas.Lists(),
//                .options = config.training,
//                .loss = [&](int64_t step, int64_t shard, Json& row) { return Loss(replicas[shard], ...); }}, progress);
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "genview/base/fields.h"
#include "genview/base/progress.h"
#include "genview/generator/reading_time.h"
#include "genview/models/weight_list.h"
#include "genview/records/records.h"
#include "genview/tensor/device.h"

namespace genview {

struct TrainingOptions {
  int64_t steps = 10000;
  int64_t stop_after = 0;  // steps; 0: all of them. The schedule is that of `steps` all the same
  int64_t shards = 2;
  int64_t batch = 128;  // over all shards
  double lr = 1e-3, final_lr = 1e-5;
  int64_t warmup = 200;  // steps
  double weight_decay = 0.01;
  double beta2 = 0.99;
  double clip = 1;                           // of the gradients' common norm
  double average = 0.999;                    // momentum of the weights' average; 0: the last weights are the result
  int64_t save_every = 500, log_every = 50;  // steps

  int64_t last_step() const { return stop_after > 0 && stop_after < steps ? stop_after : steps; }
};

template <class Visit>
void VisitFields(TrainingOptions& o, Visit&& visit) {
  visit("steps", o.steps, Range<int64_t>{1, 100'000'000}, "optimiser steps");
  visit("stop_after", o.stop_after, Range<int64_t>{0, 100'000'000},
        "end after so many steps of the longer schedule; 0 = at its end");
  visit("batch", o.batch, Range<int64_t>{1, 1 << 20}, "pictures in a step");
  visit("shards", o.shards, Range<int64_t>{1, 256},
        "equal parts of a batch, one thread each; part of what the result depends on");
  visit("lr", o.lr, Range<double>{0, 10}, "learning rate after the warm-up");
  visit("final_lr", o.final_lr, Range<double>{0, 10}, "learning rate that the cosine ends with");
  visit("warmup", o.warmup, Range<int64_t>{0, 100'000'000}, "steps of linear warm-up");
  visit("weight_decay", o.weight_decay, Range<double>{0, 10}, "decoupled weight decay of matrices and convolutions");
  visit("beta2", o.beta2, Range<double>{0, 1}, "AdamW's momentum of squared gradients");
  visit("clip", o.clip, Range<double>{0, 1e6}, "largest common norm of the gradients; 0 = any");
  visit("average", o.average, Range<double>{0, 1}, "momentum of the averaged weights; 0 = no average");
  visit("save_every", o.save_every, Range<int64_t>{1, 100'000'000}, "steps between checkpoints");
  visit("log_every", o.log_every, Range<int64_t>{1, 100'000'000}, "steps between rows of the log");
}

// Throws UsageError, naming `section`.shards, where the shards have not the same number of pictures.
void CheckShards(const TrainingOptions& options, const std::string& section);

// Numbers 0 .. size-1 in an endless order: epoch after epoch, each in a permutation of its own. Thread-safe.
class EndlessOrder {
 public:
  EndlessOrder(Seed seed, int64_t size) : seed_(seed), size_(size) {}
  std::vector<int64_t> Indices(int64_t position, int64_t count) const;

 private:
  std::shared_ptr<const std::vector<int64_t>> Epoch(int64_t epoch) const;

  Seed seed_;
  int64_t size_;
  mutable std::mutex mutex_;
  // The newest two: shards cross the border apart.
  mutable std::map<int64_t, std::shared_ptr<const std::vector<int64_t>>> epochs_;
};

struct TrainingTask {
  Path folder;                       // checkpoints/, log.jsonl and TensorBoard events
  std::string name;                  // for people
  Json identity;                     // what the result depends on; a run of another identity is not gone on with
  WeightList weights;                // set to their initial values; trained in place
  WeightList averaged;               // of a second model of the same shape: receives the result
  std::vector<WeightList> replicas;  // one per shard, sharing memory with `weights`
  TrainingOptions options;
  // Mean loss of one shard of one step, with gradient for the replica. A pure function of weights, step and shard. The
  // first shard may add numbers to the row of the log.
  std::function<Tensor(int64_t step, int64_t shard, Json& row)> loss;
  // Called now and then and at the end with the averaged weights in place, for pictures and scores in the log. May be
  // empty.
  std::function<void(int64_t step, Json& row)> review;
  int64_t review_every = 0;              // steps; 0: never
  const ReadingTime* reading = nullptr;  // of the shards, each on a thread of its own; null: nothing is read
  // Pictures left out so far. They travel with the checkpoints: who goes on from one does not look at them again.
  SkippedLog skipped = {};
};

// Copies of a model that share its memory but have gradients of their own.
template <class Model>
class Replicas {
 public:
  Replicas(Model& model, int64_t count) : models_(static_cast<size_t>(count), model) {
    for (Model& replica : models_) {
      for (const WeightRef& ref : ListWeights(replica)) *ref.tensor = ref.tensor->detach();
    }
  }
  const Model& operator[](int64_t shard) const { return models_[static_cast<size_t>(shard)]; }
  std::vector<WeightList> Lists() {
    std::vector<WeightList> lists;
    for (Model& replica : models_) lists.push_back(ListWeights(replica));
    return lists;
  }

 private:
  std::vector<Model> models_;
};

// The part of a config that the state after a given step depends on.
Json TrainingIdentity(const TrainingOptions& options);

void RunTraining(const TrainingTask& task, Progress& progress);  // throws Error for a folder of another identity

// Whether a run of this identity that ends after `last_step` can go on in the folder: it holds none, or the steps of it
// until then.
bool IsOfTraining(const Path& folder, const Json& identity, int64_t last_step);

// Renames FOLDER to FOLDER-before, or where that is taken FOLDER-before-2 and so on, and returns that.
Path MoveAside(const Path& folder);

// True when the folder holds the finished run of this identity; then `averaged` is set to its result.
bool LoadFinished(const TrainingTask& task);

}  // namespace genview
