// A command as several processes of one job on this machine, as `torchrun` would start it.
//
//   if (count > 1) return RunAsProcesses(words, count);     // words: all of the command line but the program's name
//
// The processes are this program again, told their places by the environment, and kSharesCores; this one starts them,
// hands signals on and waits. None of them outlives it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace genview {

// Set in processes that are to take a share of the machine's cores each.
inline constexpr const char* kSharesCores = "GENVIEW_SHARES_CORES";

// The exit code of process 0, which speaks for all. Throws Error where processes cannot be started, and where process 0
// could not say why another one has ended. `patience`: a process that works notices at its next step that another one
// has died. Who waits for it to come, or is busy for longer, is asked to stop; who does not hear that either is ended.
int RunAsProcesses(const std::vector<std::string>& words, int64_t count,
                   std::chrono::milliseconds patience = std::chrono::seconds(60));

}  // namespace genview
