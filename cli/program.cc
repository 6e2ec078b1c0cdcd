#include "cli/program.h"

#include <cerrno>
#include <cstring>

#include "cli/args.h"
#include "cli/error_report.h"
#include "cli/help.h"
#include "cli/terminal_progress.h"

namespace genview {
namespace {

const Command& CommandOf(const std::vector<std::string>& words, size_t* taken) {
  if (words.empty()) {
    throw UsageError({.what = "no command", .where = kCommandLine, .next = "`genview --help` names the commands"});
  }
  if (const Command* command = FindCommand(words, taken)) return *command;
  std::vector<std::string> known;
  for (const Command& command : AllCommands()) known.emplace_back(command.name);
  const bool group = !GroupHelp(words[0]).empty();
  const std::string typed = words.size() > 1 && (group || !words[1].starts_with("-")) ? words[0] + " " + words[1] : words[0];
  if (group) {
    std::erase_if(known, [&](const std::string& name) { return !name.starts_with(words[0] + " "); });
    throw UsageError({.what = words.size() > 1 ? Format("no command `{}`", typed) : Format("`{}` alone is no command", typed),
                      .where = kCommandLine,
                      .next = words.size() > 1 ? SuggestName(typed, known) : Format("one of: {}", fmt::join(known, ", "))});
  }
  std::string nearest = NearestName(words[0], known);
  if (nearest.empty()) nearest = NearestName(typed, known);
  throw UsageError({.what = Format("no command `{}`", words[0]),
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

}  // namespace

int RunProgram(const std::vector<std::string>& words) {
  if (const auto answer = AnswerHelp(words)) {
    fmt::print("{}", *answer);
    return kOk;
  }
  std::string where = kCommandLine;
  try {
    size_t taken = 0;
    const Command& command = CommandOf(words, &taken);
    const Args args = ParseArgs(command, {words.begin() + static_cast<std::ptrdiff_t>(taken), words.end()});
    where = Format("genview {}", command.name);
    TerminalProgress progress(args.program.log_level);
    try {
      const int code = command.run(args, progress);
      progress.Clear();
      CheckStdout();
      return code;
    } catch (...) {
      if (const std::string stage = progress.Where(); !stage.empty()) where += ": " + stage;
      throw;
    }
  } catch (const Interrupted&) {
    fmt::print(stderr, "interrupted; what is finished is kept, and the same command goes on from there\n");
    return kInterrupted;
  } catch (...) {
    std::fflush(stdout);
    const Failure failure = DescribeFailure(std::current_exception(), where);
    fmt::print(stderr, "{}", ThreeLines(failure.text));
    return failure.exit_code;
  }
}

}  // namespace genview
