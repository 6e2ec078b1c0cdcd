#include "cli/signals.h"

#include <unistd.h>
#include <csignal>
#include <cstring>

#include "cli/command.h"

namespace genview {
namespace {

volatile std::sig_atomic_t stop_requests = 0, silent = 0;

// Only what is allowed in a signal handler: a flag, write, _exit.
void OnSignal(int signal) {
  if (stop_requests > 0 && signal == SIGINT) _exit(kInterrupted);
  stop_requests = stop_requests + 1;
  static constexpr char kNote[] = "\nstopping at the next safe point; press Ctrl-C again to end at once\n";
  if (signal == SIGINT && silent == 0 && ::isatty(STDERR_FILENO))
    (void)!::write(STDERR_FILENO, kNote, sizeof kNote - 1);
}

}  // namespace

void CatchStopSignals() {
  struct sigaction action{};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  // A file that reaches the size limit of the shell (ulimit -f) is an error of its write, as a full disk is.
  std::signal(SIGXFSZ, SIG_IGN);
}

void StopSilently() { silent = 1; }

bool StopRequested() { return stop_requests > 0; }

}  // namespace genview
