#include <cstdlib>

#include "cli/program.h"
#include "cli/signals.h"

int main(int argc, char** argv) {
  // Matrix products whose sums have one order for any number of threads: read by MKL at its first product; costs
  // nothing that can be measured.
  ::setenv("MKL_CBWR", "AUTO,STRICT", /*overwrite=*/0);
  genview::CatchStopSignals();
  return genview::RunProgram({argv + (argc > 0 ? 1 : 0), argv + argc});
}
