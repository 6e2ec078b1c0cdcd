// The main function of the unit tests: each process has a folder of its own for what testing::TempDir() is asked for,
// so that tests may run side by side, in several checkouts, too; and MKL sums in one order for any number of threads,
// as in the program (cli/main.cc).
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/temporary_folder.h"

int main(int argc, char** argv) {
  const genview::TemporaryFolder folder;
  ::setenv("TEST_TMPDIR", (folder.path().string() + "/").c_str(), /*overwrite=*/1);
  ::setenv("MKL_CBWR", "AUTO,STRICT", /*overwrite=*/0);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
