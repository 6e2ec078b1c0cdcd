#include "cli/processes.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <string>

#include "cli/command.h"

namespace genview {
namespace {

// Of two processes the first fails, and the second cannot be asked to stop.
[[noreturn]] void TakePart() {
  if (std::string(std::getenv("RANK")) == "0") ::_exit(kFailed);
  std::signal(SIGTERM, SIG_IGN);
  while (true) ::pause();
}

// The code is process 0's, which has said why it failed: no second error is thrown.
TEST(Processes, WhoHearsNothingIsEnded) {
  if (std::getenv(kSharesCores) != nullptr) TakePart();  // this test, started by itself
  ::setenv("TMPDIR", testing::TempDir().c_str(), 1);
  EXPECT_EQ(RunAsProcesses({"--gtest_filter=Processes.WhoHearsNothingIsEnded"}, 2, std::chrono::milliseconds(100)),
            kFailed);
  ::unsetenv("TMPDIR");
}

}  // namespace
}  // namespace genview
