// Progress for people: a bar on a terminal, one plain line every few seconds elsewhere. Everything goes to stderr.
//
//   views ━━━━━━━━━━━━╸─────────  61%  2,500/4,096 views  15.2/s  eta 1 min 45 s  wait 2%  1.4 GB  level 200
#pragma once

#include <chrono>
#include <cstdio>
#include <mutex>
#include <set>
#include <string>

#include "cli/args.h"
#include "genview/base/progress.h"

namespace genview {

class TerminalProgress : public Progress {
 public:
  explicit TerminalProgress(LogLevel level, std::FILE* stream = stderr);
  ~TerminalProgress() override;

  void Begin(std::string_view stage, int64_t total, std::string_view unit) override;
  void Update(int64_t done, double wait_share, std::string_view note) override;
  void End(std::string_view summary) override;
  void Warn(std::string_view message) override;
  bool Stopped() const override;

  std::string Where() const;  // "views, 2500 of 4096 views": for errors that do not say where they happened
  void Clear();               // takes the bar away, so that other lines can be printed

 private:
  using Clock = std::chrono::steady_clock;

  std::string Line(Clock::time_point now, bool bar) const;
  void Show(Clock::time_point now);
  void ClearLocked();

  LogLevel level_;
  std::FILE* stream_;
  bool terminal_ = false, wide_characters_ = false;
  mutable std::mutex mutex_;

  std::set<std::string> warned_;
  std::string stage_, unit_, note_;
  int64_t total_ = 0, done_ = 0, first_ = -1;  // first_: what was done already when the stage was taken up again
  double wait_share_ = -1, rate_ = 0;
  Clock::time_point began_, shown_, rated_;
  int64_t rated_done_ = 0;
  bool bar_shown_ = false;
};

}  // namespace genview
