#include "cli/processes.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <string_view>
#include <thread>

#include "cli/command.h"
#include "cli/signals.h"
#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kLook = std::chrono::milliseconds(20);
constexpr int kPatienceUntilTheEnd = 5;  // times as long

// A process's place, as launcher.h reads it.
constexpr const char *kRank = "RANK", *kSize = "WORLD_SIZE", *kLocalRank = "LOCAL_RANK", *kJob = "TORCHELASTIC_RUN_ID";
constexpr std::string_view kPlace[] = {kRank, kSize, kLocalRank, kJob, kSharesCores};

class Processes {
 public:
  Processes(const std::vector<std::string>& words, int64_t count);
  int Wait(std::chrono::milliseconds patience);

 private:
  struct Process {
    pid_t id = 0;
    bool ended = false;
    int status = 0;
  };

  void Start(int64_t rank);
  void Send(int signal);
  bool Look();                         // whether all have ended
  const Process* FirstFailed() const;  // null: none

  std::vector<std::string> words_, variables_;
  std::vector<Process> processes_;
};

Processes::Processes(const std::vector<std::string>& words, int64_t count) : words_(words) {
  const auto is_ours = [](std::string_view variable) {
    const std::string_view name = variable.substr(0, variable.find('='));
    return std::find(std::begin(kPlace), std::end(kPlace), name) != std::end(kPlace);
  };
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!is_ours(*variable)) variables_.emplace_back(*variable);
  }
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  variables_.push_back(Format("{}=genview-{}-{}", kJob, ::getpid(), now));  // no other job has this name
  variables_.push_back(Format("{}={}", kSize, count));
  variables_.push_back(Format("{}=1", kSharesCores));
  std::signal(SIGCHLD, SIG_DFL);  // ignored, which exec keeps, there would be no exit codes
  for (int64_t rank = 0; rank < count; ++rank) Start(rank);
}

void Processes::Start(int64_t rank) {
  std::vector<std::string> own = variables_;
  own.push_back(Format("{}={}", kRank, rank));
  own.push_back(Format("{}={}", kLocalRank, rank));
  std::vector<char*> environment, arguments;
  for (std::string& variable : own) environment.push_back(variable.data());
  std::string name = "genview";
  arguments.push_back(name.data());
  for (std::string& word : words_) arguments.push_back(word.data());
  environment.push_back(nullptr);
  arguments.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) {
    const int reason = errno;
    Send(SIGKILL);
    throw Error({.what = Format("cannot start process {}: {}", rank, std::strerror(reason)),
                 .where = "this machine",
                 .next = "give a smaller --processes, or let other work end first"});
  }
  if (child == 0) {  // only what may be called between fork and exec
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(kFailed);
    ::execve("/proc/self/exe", arguments.data(), environment.data());
    ::_exit(kFailed);
  }
  processes_.push_back({.id = child});
}

void Processes::Send(int signal) {
  for (const Process& process : processes_) {
    if (!process.ended) ::kill(process.id, signal);
  }
}

bool Processes::Look() {
  bool all = true;
  for (Process& process : processes_) {
    if (!process.ended) process.ended = ::waitpid(process.id, &process.status, WNOHANG) == process.id;
    all = all && process.ended;
  }
  return all;
}

const Processes::Process* Processes::FirstFailed() const {
  for (const Process& process : processes_) {
    if (process.ended && process.status != 0) return &process;
  }
  return nullptr;
}

int Processes::Wait(std::chrono::milliseconds patience) {
  bool told = false;
  const Process* failed = nullptr;
  Clock::time_point noticed;
  while (!Look()) {
    if (failed == nullptr && (failed = FirstFailed()) != nullptr) noticed = Clock::now();
    const auto waited = failed == nullptr ? Clock::duration::zero() : Clock::now() - noticed;
    // A terminal has sent them SIGINT itself, and a second one would end them at once.
    if (!told && (StopRequested() || waited > patience)) {
      told = true;
      Send(SIGTERM);
    }
    if (!StopRequested() && waited > kPatienceUntilTheEnd * patience) Send(SIGKILL);
    std::this_thread::sleep_for(kLook);
  }
  const int status = processes_.front().status;
  const bool was_stopped = told && !StopRequested() && failed != &processes_.front();
  if (WIFEXITED(status) && !was_stopped) return WEXITSTATUS(status);
  if (failed == nullptr) failed = FirstFailed();
  // They are not ready to be stopped as soon as they have been started.
  const int signal = WIFSIGNALED(failed->status) ? WTERMSIG(failed->status) : 0;
  if (StopRequested() && (signal == SIGINT || signal == SIGTERM)) throw Interrupted();
  const auto rank = failed - processes_.data();
  throw Error(
      {.what =
           WIFSIGNALED(failed->status)
               ? Format("process {} of {} was ended by signal {} ({})", rank, processes_.size(),
                        WTERMSIG(failed->status), ::strsignal(WTERMSIG(failed->status)))
               : Format("process {} of {} ended with code {}", rank, processes_.size(), WEXITSTATUS(failed->status)),
       .where = "--processes",
       .next = "look whether memory was short, then run the same command again: it goes on from what is there"});
}

}  // namespace

int RunAsProcesses(const std::vector<std::string>& words, int64_t count, std::chrono::milliseconds patience) {
  return Processes(words, count).Wait(patience);
}

}  // namespace genview
