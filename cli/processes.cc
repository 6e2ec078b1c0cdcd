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
// A group notices within a second that a process has died; one that has not met yet does not.
constexpr auto kGrace = std::chrono::seconds(30);

// A process's place, as launcher.h reads it.
constexpr const char *kRank = "RANK", *kSize = "WORLD_SIZE", *kLocalRank = "LOCAL_RANK", *kJob = "TORCHELASTIC_RUN_ID";
constexpr std::string_view kPlace[] = {kRank, kSize, kLocalRank, kJob};

class Processes {
 public:
  Processes(const std::vector<std::string>& words, int64_t count);
  int Wait();

 private:
  struct Process {
    pid_t id = 0;
    bool ended = false;
    int status = 0;
  };

  void Start(int64_t rank);
  void Send(int signal);
  bool Look();  // whether all have ended
  bool AnyFailed() const;

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

bool Processes::AnyFailed() const {
  for (const Process& process : processes_) {
    if (process.ended && process.status != 0) return true;
  }
  return false;
}

int Processes::Wait() {
  bool told = false;
  Clock::time_point failed{};
  while (!Look()) {
    // A terminal has sent them SIGINT itself, and a second one would end them at once.
    if (StopRequested() && !told) {
      told = true;
      Send(SIGTERM);
    }
    if (failed == Clock::time_point{} && AnyFailed()) failed = Clock::now();
    if (failed != Clock::time_point{} && Clock::now() - failed > kGrace) Send(SIGKILL);
    std::this_thread::sleep_for(kLook);
  }
  const int status = processes_.front().status;
  return WIFEXITED(status) ? WEXITSTATUS(status) : kFailed;
}

}  // namespace

int RunAsProcesses(const std::vector<std::string>& words, int64_t count) { return Processes(words, count).Wait(); }

}  // namespace genview
