#include "genview/base/folder_lock.h"

#include <optional>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "genview/base/error.h"
#include "tests/temporary_folder.h"

namespace genview {
namespace {

// In a child, which then ends: 0 where the folder could be locked, 1 where it was refused.
int LockInAChild(const Path& folder) {
  const pid_t child = ::fork();
  if (child == 0) {
    int refused = 0;
    try {
      const FolderLock lock(folder);
    } catch (const Error&) {
      refused = 1;
    }
    ::_exit(refused);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

TEST(FolderLock, RefusesASecondProcessUntilItIsLetGo) {
  const TemporaryFolder place;
  const Path folder = place.path() / "run";
  std::optional<FolderLock> lock(std::in_place, folder);
  EXPECT_EQ(LockInAChild(folder), 1);
  EXPECT_EQ(LockInAChild(place.path() / "another"), 0);
  lock.reset();
  EXPECT_EQ(LockInAChild(folder), 0);  // and the child's end lets it go
  EXPECT_EQ(LockInAChild(folder), 0);
}

TEST(FileTurn, IsSweptOnceNobodyHoldsIt) {
  const TemporaryFolder place;
  const Path file = place.path() / "list.tsv";
  {
    const FileTurn turn(file);
    EXPECT_EQ(SweepPartFiles(place.path()), 0);
    EXPECT_FALSE(std::filesystem::is_empty(place.path()));
  }
  EXPECT_TRUE(std::filesystem::is_empty(place.path()));
  if (const pid_t child = ::fork(); child == 0) {
    const FileTurn turn(file);
    ::_exit(0);  // as if it were killed
  } else {
    ::waitpid(child, nullptr, 0);
  }
  EXPECT_EQ(SweepPartFiles(place.path()), 1);
  EXPECT_TRUE(std::filesystem::is_empty(place.path()));
}

TEST(FolderLock, LeavesNothingBehind) {
  const TemporaryFolder place;
  {
    const FolderLock lock(place.path());
  }
  EXPECT_TRUE(std::filesystem::is_empty(place.path()));
}

}  // namespace
}  // namespace genview
