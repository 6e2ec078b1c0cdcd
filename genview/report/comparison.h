// The arms of all runs side by side: what each is held to, and what the page says of it first.
#pragma once

#include <string>
#include <vector>

#include "genview/report/run_record.h"

namespace genview {

// One row of the table: an arm of a run, with its scores.
struct Row {
  const RunRecord* run;
  const ArmRecord* arm;
  std::string name;
  int64_t colour;
  std::vector<const ArmScore*> scores{};  // top-1, the one that the page goes by first
  const ArmScore* Main() const { return scores.empty() ? nullptr : scores.front(); }
  const ArmScore* Of(const std::string& eval) const {
    const auto found = std::find_if(scores.begin(), scores.end(), [&](const ArmScore* score) { return score->eval == eval; });
    return found == scores.end() ? nullptr : *found;
  }
};

// In a few words what the arm sets otherwise than others of its run: "method simclr, lr 0.06; quality: enabled, features cached".
// Keys of `pretrain` stand without it.
std::string WhatDiffers(const RunRecord& run, const ArmRecord& arm);

std::vector<Row> Rows(const std::vector<RunRecord>& runs);

// The arm all others are held to: the first with a score, which recipes name baseline.
const Row* BaselineOf(const std::vector<Row>& rows);

// The row's score that can be held to the baseline's: of the same kind, on as many pictures of as many classes. Null without one.
const ArmScore* Beside(const Row& row, const Row& baseline);

}  // namespace genview
