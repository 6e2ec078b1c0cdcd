// How fast frozen features are scored on this machine, on random features: `genview bench linear`, `genview bench knn`.
#pragma once

#include "genview/base/fields.h"
#include "genview/tensor/bench_times.h"
#include "genview/tensor/run_options.h"

namespace genview {

struct BenchLinearConfig {
  int64_t images = 50000;  // feature rows
  int64_t width = 2048;
  int64_t classes = 10;
  int64_t rates = 9;  // classifiers trained at once, a learning rate each
  int64_t batch = 256;
  int64_t epochs = 5;
  int64_t rounds = 3;
  double seconds = 0;
  RunOptions run;
};

template <class Visit>
void VisitFields(BenchLinearConfig& c, Visit&& visit) {
  visit("images", c.images, Range<int64_t>{2, 10'000'000}, "feature rows");
  visit("width", c.width, Range<int64_t>{1, 65536}, "of a feature row");
  visit("classes", c.classes, Range<int64_t>{2, 100'000}, "of the classifiers");
  visit("rates", c.rates, Range<int64_t>{1, 100}, "learning rates, all trained at once");
  visit("batch", c.batch, Range<int64_t>{1, 1 << 20}, "features per update");
  visit("epochs", c.epochs, Range<int64_t>{1, 1 << 20}, "of a training");
  visit("rounds", c.rounds, Range<int64_t>{1, 100000}, "trainings measured, after one that is not");
  visit("seconds", c.seconds, Range<double>{0, 86400}, "measure for about this long instead; 0 = by rounds");
  visit("run", c.run, Section{}, "threads, seed");
}

struct BenchKnnConfig {
  int64_t images = 50000;  // rows of the bank
  int64_t queries = 10000;
  int64_t width = 512;
  int64_t classes = 10;
  int64_t k = 200;
  int64_t rounds = 3;
  double seconds = 0;
  RunOptions run;
};

template <class Visit>
void VisitFields(BenchKnnConfig& c, Visit&& visit) {
  visit("images", c.images, Range<int64_t>{1, 10'000'000}, "feature rows that are looked through");
  visit("queries", c.queries, Range<int64_t>{1, 10'000'000}, "feature rows that are looked up");
  visit("width", c.width, Range<int64_t>{1, 65536}, "of a feature row");
  visit("classes", c.classes, Range<int64_t>{2, 100'000}, "that neighbours vote for");
  visit("k", c.k, Range<int64_t>{1, 1 << 20}, "neighbours that vote");
  visit("rounds", c.rounds, Range<int64_t>{1, 100000}, "passes measured, after one that is not");
  visit("seconds", c.seconds, Range<double>{0, 86400}, "measure for about this long instead; 0 = by rounds");
  visit("run", c.run, Section{}, "threads, seed");
}

// A step is one training of all classifiers; its images are the rows, in each epoch anew.
BenchFigures BenchLinear(const BenchLinearConfig& config, Progress& progress);
// A step is one pass over the queries; its images are they.
BenchFigures BenchKnn(const BenchKnnConfig& config, Progress& progress);

}  // namespace genview
