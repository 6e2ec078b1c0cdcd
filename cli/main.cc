#include "cli/program.h"
#include "cli/signals.h"

int main(int argc, char** argv) {
  genview::CatchStopSignals();
  return genview::RunProgram({argv + (argc > 0 ? 1 : 0), argv + argc});
}
