// For the tests of this folder.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "genview/base/error.h"
#include "genview/base/files.h"
#include "genview/base/progress.h"
#include "tests/temporary_folder.h"

namespace genview {

// Relative path -> contents; files whose name begins with one of `left_out` (they hold times) are left out.
inline std::map<std::string, std::string> FolderBytes(const Path& folder,
                                                      const std::vector<std::string>& left_out = {}) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const std::string name = entry.path().filename().string();
    bool out = false;
    for (const std::string& prefix : left_out) out |= name.starts_with(prefix);
    if (!out) files[std::filesystem::relative(entry.path(), folder).string()] = ReadFile(entry.path());
  }
  return files;
}

// What a killed process leaves beside a file.
inline Path LeavePart(const Path& folder) {
  const Path part = folder / ".something.json.1.part";
  WriteFile(part, "{");
  return part;
}

// Asks to stop after a number of updates, over all stages.
class StopAfterUpdates : public Progress {
 public:
  explicit StopAfterUpdates(int64_t updates) : left_(updates) {}
  void Update(int64_t, double, std::string_view) override { --left_; }
  bool Stopped() const override { return left_ <= 0; }

 private:
  int64_t left_;
};

// Asks to stop when a stage begins.
class StopAtStage : public Progress {
 public:
  explicit StopAtStage(std::string stage) : stage_(std::move(stage)) {}
  void Begin(std::string_view stage, int64_t, std::string_view) override { begun_ |= stage == stage_; }
  bool Stopped() const override { return begun_; }

 private:
  std::string stage_;
  bool begun_ = false;
};

// What a training said of its steps.
class RecordedProgress : public Progress {
 public:
  struct Row {
    std::string stage;
    int64_t done;
    double wait_share;
  };
  void Begin(std::string_view stage, int64_t, std::string_view) override { stage_ = stage; }
  void Update(int64_t done, double wait_share, std::string_view) override {
    rows_.push_back({stage_, done, wait_share});
  }
  std::vector<Row> RowsOf(const std::string& stage) const {
    std::vector<Row> rows;
    for (const Row& row : rows_) {
      if (row.stage == stage) rows.push_back(row);
    }
    return rows;
  }

 private:
  std::string stage_;
  std::vector<Row> rows_;
};

// That every step of the stage was told of, and what part of the time went into reading.
inline void ExpectAllStepsWithShares(const RecordedProgress& progress, const std::string& stage, int64_t steps) {
  const std::vector<RecordedProgress::Row> rows = progress.RowsOf(stage);
  ASSERT_EQ(std::ssize(rows), steps) << stage;
  for (int64_t i = 0; i < steps; ++i) {
    const RecordedProgress::Row& row = rows[static_cast<size_t>(i)];
    EXPECT_EQ(row.done, i + 1) << stage;
    EXPECT_GT(row.wait_share, 0) << stage;
    EXPECT_LE(row.wait_share, 1) << stage;
  }
}

// That training with `config` is refused by that key, before it writes anything.
template <class Config, class Train>
void ExpectRefused(const Config& config, const std::string& key, Train&& train) {
  Progress quiet;
  try {
    train(config, quiet);
    ADD_FAILURE() << key << " was taken";
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().where, key);
  } catch (const std::exception& error) {
    ADD_FAILURE() << key << ": " << error.what();
  }
  EXPECT_FALSE(std::filesystem::exists(config.out)) << key;
  std::filesystem::remove_all(config.out);
}

}  // namespace genview
