// For tests: processes that meet in a folder of their own.
#pragma once

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include "genview/dist/group.h"

namespace genview {

class SharedFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = Path(testing::TempDir()) /
              (std::string("genview-group-") + testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  GroupPlace Place(int64_t rank, int64_t size) const {
    return {.rank = rank, .size = size, .folder = folder_, .join_seconds = 20, .silence_seconds = 3};
  }

  // Runs `work` in a process of its own; the exit code is what it returns.
  template <class Work>
  static pid_t Fork(Work work) {
    const pid_t child = ::fork();
    if (child == 0) {
      int code = 99;
      try {
        code = work();
      } catch (const PeerFailed&) {
        code = 40;
      } catch (...) {
        code = 41;
      }
      ::_exit(code);
    }
    return child;
  }
  static int CodeOf(pid_t child) {
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  Progress quiet_;
  Path folder_;
};

}  // namespace genview
