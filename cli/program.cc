#include "cli/program.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "cli/args.h"
#include "cli/error_report.h"
#include "cli/help.h"
#include "cli/launcher.h"
#include "cli/print.h"
#include "cli/processes.h"
#include "cli/signals.h"
#include "cli/tasks.h"
#include "cli/terminal_progress.h"
#include "genview/tensor/device.h"

namespace genview {
namespace {

const Command& CommandOf(const std::vector<std::string>& words, size_t* taken) {
  if (words.empty()) {
    throw UsageError({.what = "no command", .where = kCommandLine, .next = "`genview --help` names the commands"});
  }
  if (words.size() > 1 && words[0] == "help") return CommandOf({words.begin() + 1, words.end()}, taken);  // no such
  if (const Command* command = FindCommand(words, taken)) return *command;
  std::vector<std::string> known;
  for (const Command& command : AllCommands()) known.emplace_back(command.name);
  const bool group = !GroupHelp(words[0]).empty();
  const std::string typed =
      words.size() > 1 && (group || !words[1].starts_with("-")) ? words[0] + " " + words[1] : words[0];
  if (group) {
    std::erase_if(known, [&](const std::string& name) { return !name.starts_with(words[0] + " "); });
    throw UsageError(
        {.what = words.size() > 1 ? Format("no command `{}`", typed) : Format("`{}` alone is no command", typed),
         .where = kCommandLine,
         .next = words.size() > 1 ? SuggestName(typed, known) : Format("one of: {}", fmt::join(known, ", "))});
  }
  std::string nearest = NearestName(words[0], known);
  if (nearest.empty()) nearest = NearestName(typed, known);
  throw UsageError(
      {.what = Format("no command `{}`", words[0]),
       .where = kCommandLine,
       .next = nearest.empty() ? "`genview --help` names the commands" : Format("did you mean `{}`?", nearest)});
}

// Results that do not reach their reader are a failure: a full disk, say, behind `genview ... > file`.
void CheckStdout() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
  throw Error({.what = Format("cannot write the result: {}", std::strerror(errno)),
               .where = "standard output",
               .next = "check where the output goes, then run the command again"});
}

// What a command is to write, as far as one flag says it.
Path OutOf(const Args& args) {
  const auto out = args.values.find("out");
  return out != args.values.end() && out->is_string() ? Path(out->get<std::string>()) : Path();
}

std::string VisibleDevices() {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return visible == nullptr ? "" : visible;
}

int64_t GpusFor(const Args& args) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  const bool none = visible != nullptr && *visible == 0;
  const Json run = args.values.value("run", Json::object());
  if (none || run.value("device", "") == "cpu" || !HasCudaLibrary()) return 0;
  return UsableGpus(VisibleDevices(), CountGpus());
}

// How many processes of this command are to be started here; 1 where they have been.
int64_t ProcessesToStart(const LauncherPlace& place, const Args& args) {
  const int64_t asked = args.program.processes;
  if (place.size == 1) return asked > 0 ? asked : std::max<int64_t>(1, GpusFor(args));
  if (asked <= 1 || asked == place.size) return 1;
  throw UsageError({.what = Format("--processes is {}, and a launcher has started {}", asked, place.size),
                    .where = Format("{}, --processes", kCommandLine),
                    .next = "leave the number to one of the two"});
}

// Joins the processes that a launcher has started, each with a GPU of its own where there are several.
std::unique_ptr<Group> JoinOthers(const LauncherPlace& place, const Args& args, const Progress& progress) {
  if (place.size == 1) return nullptr;
  if (const auto gpu = VisibleGpu(place.local_rank, VisibleDevices(), CountGpus()))
    ::setenv("CUDA_VISIBLE_DEVICES", gpu->c_str(), 1);
  return JoinGroup(MeetingPlace(place, OutOf(args)), progress);
}

// Process 0 runs the command; the others do their share of its work and end with its code.
int RunCommand(const Command& command, const Args& args, TerminalProgress& progress) {
  Group& group = *args.group;
  if (group.rank() != 0) {
    const int code = ServeTasks(group, progress);
    group.Leave();
    return code;
  }
  const int code = command.run(args, progress);
  progress.Clear();
  CheckStdout();
  EndTasks(group, code);
  group.Leave();
  return code;
}

// What this process says and ends with. The others are told; what they know from each other, only process 0 says.
int End(const std::exception_ptr& thrown, const std::string& where, std::string_view to_save_memory, Group* group) {
  std::fflush(stdout);
  const PeerFailed* peer = nullptr;
  Failure failure;
  try {
    std::rethrow_exception(thrown);
  } catch (const Interrupted&) {
    failure = {{"interrupted", where, "run the same command again"}, kInterrupted};
  } catch (const PeerFailed& other) {
    peer = &other;
    failure = {other.text(), other.code()};
  } catch (...) {
    failure = DescribeFailure(thrown, where, to_save_memory);
  }
  if (group != nullptr) group->Fail(failure.exit_code, failure.text);
  const bool silent = group != nullptr && group->rank() != 0 && !(peer != nullptr && peer->without_a_word());
  if (silent) return failure.exit_code;
  if (failure.exit_code == kInterrupted)
    Print(stderr, "interrupted; what is finished is kept, and the same command goes on from there\n");
  else Print(stderr, "{}", ThreeLines(failure.text));
  return failure.exit_code;
}

}  // namespace

int RunProgram(const std::vector<std::string>& words) {
  if (const auto answer = AnswerHelp(words)) {
    Print("{}", *answer);
    return kOk;
  }
  std::string where = kCommandLine;
  std::string_view to_save_memory;
  std::unique_ptr<Group> group;  // null: this process is alone
  try {
    size_t taken = 0;
    const Command& command = CommandOf(words, &taken);
    Args args = ParseArgs(command, {words.begin() + static_cast<std::ptrdiff_t>(taken), words.end()});
    where = Format("genview {}", command.name);
    to_save_memory = ToSaveMemory(command);
    const LauncherPlace place = ReadLauncher(ProcessEnvironment());
    const int64_t count = ProcessesToStart(place, args);
    if (count > 1 || place.rank != 0) StopSilently();
    if (count > 1) return RunAsProcesses(words, count);
    TerminalProgress progress(place.rank == 0 ? args.program.log_level : LogLevel::kError);
    try {
      group = JoinOthers(place, args, progress);
      if (group != nullptr) args.group = group.get();
      return RunCommand(command, args, progress);
    } catch (...) {
      if (const std::string stage = progress.Where(); !stage.empty()) where += ": " + stage;
      throw;
    }
  } catch (...) {
    return End(std::current_exception(), where, to_save_memory, group.get());
  }
}

}  // namespace genview
