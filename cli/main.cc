#include <sys/prctl.h>
#include <cstdlib>

#include "cli/program.h"
#include "cli/signals.h"

int main(int argc, char** argv) {
  // What `top`, `ps` and `killall` know it by: started again through /proc/self/exe (early_start.cc, processes.cc) it
  // is called "exe".
  ::prctl(PR_SET_NAME, "genview");
  // Matrix products whose sums have one order for any number of threads: read by MKL at its first product; costs
  // nothing that can be measured.
  ::setenv("MKL_CBWR", "AUTO,STRICT", /*overwrite=*/0);
  genview::CatchStopSignals();
  return genview::RunProgram({argv + (argc > 0 ? 1 : 0), argv + argc});
}
