// The arms of all runs side by side: what each is held to, and what the page says of it first.
#pragma once

#include <string>
#include <vector>

#include "genview/report/run_record.h"

namespace genview {

// After the colours that are told apart, one for all others.
constexpr int64_t kQuiet = 6;

// One row of the table: an arm of a run, with its scores.
struct Row {
  const RunRecord* run;
  const ArmRecord* arm;
  std::string name;
  std::string method{};
  int64_t colour = 0;       // within what it is compared with: 0 the reference, kQuiet where there are too many
  bool stands_out = false;  // the reference and the best beside it
  std::vector<const ArmScore*> scores{};  // top-1
  const ArmScore* main = nullptr;         // the one that the page goes by
  const Row* reference = nullptr;         // what it is held to, perhaps itself

  const ArmScore* Of(const std::string& eval) const;
  // Scores of the same kind, on as many pictures of as many classes, and on the same ones where that is known.
  bool Comparable(const Row& other) const;
  bool Compared() const { return reference != nullptr && reference != this && Comparable(*reference); }
};

// An arm is held to the arm of its method that has augmented views alone (of several to the one called baseline, or
// else the first). Where there is none, or no method has a second arm, so that a run is about methods, to one for all:
// baseline, or else the first with a score.
struct Comparison {
  std::string eval = "linear";  // the score that the page goes by
  std::vector<Row> rows;
  std::vector<std::string> methods;  // in the order of rows
  bool by_method = false;            // several, and arms are held to their own

  explicit Comparison(const std::vector<RunRecord>& runs);
  size_t MethodOf(const Row& row) const;   // its place in `methods`
  Comparison(const Comparison&) = delete;  // rows point at rows

 private:
  void Hold();  // each to its reference
  void Colour();
};

// results.json: `scores`, which are those of a run in `arms`, and beside a score that the table holds to another arm's
// the difference that it shows.
Json ResultsToJson(const Comparison& arms, const std::vector<ArmScore>& scores);

// In a few words what the arm sets otherwise than others of its run: "method simclr, lr 0.06; quality: enabled,
// features cached". Keys of `pretrain` stand without it.
std::string WhatDiffers(const RunRecord& run, const ArmRecord& arm);

}  // namespace genview
