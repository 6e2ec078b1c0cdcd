// From words to a config: flags become the Json that ReadFields takes, so that a flag and a recipe's key are read,
// checked and described by the same lines.
//
//   const Args args = ParseArgs(command, words);                  // throws UsageError, naming the nearest flag
//   const auto config = ParseFields<ViewsConfig>(args);
#pragma once

#include <set>
#include <string>
#include <vector>

#include "cli/command.h"
#include "genview/dist/group.h"

namespace genview {

enum class LogLevel { kError, kWarning, kInfo, kDebug };
template <>
struct EnumNames<LogLevel> {
  static constexpr std::pair<LogLevel, const char*> kNames[] = {{LogLevel::kError, "error"},
                                                                {LogLevel::kWarning, "warning"},
                                                                {LogLevel::kInfo, "info"},
                                                                {LogLevel::kDebug, "debug"}};
};

// Options of the program itself, which every command has beside its own.
struct ProgramOptions {
  int64_t processes = 1;  // of shared commands; 0: one for each GPU
  LogLevel log_level = LogLevel::kInfo;
};
template <class Visit>
void VisitFields(ProgramOptions& o, Visit&& visit) {
  visit("processes", o.processes, RangeOrAuto<int64_t>{{0, 1024}},
        "processes that share the work on this machine; auto: one for each GPU");
  visit("log_level", o.log_level, Any{}, "what goes to stderr: error, warning, info (with progress) or debug");
}

struct Args {
  const Command* command = nullptr;
  Json values = Json::object();  // of the command's config, nested
  ProgramOptions program;
  Group* group = &Alone();  // the processes that share this command's work
};

std::vector<FieldInfo> ProgramFieldsOf(const Command& command);

// `words` without the program's and the command's name.
Args ParseArgs(const Command& command, const std::vector<std::string>& words);

// The fields that a command takes without a flag.
std::set<std::string> FlaglessOf(const Command& command);

template <class Config>
Config ParseFields(const Args& args, Config config = {}) {
  const std::set<std::string> flagless = FlaglessOf(*args.command);
  const FieldSource source{.file = kCommandLine, .prefix = "", .flagless = &flagless};
  ReadFields(config, args.values, source);
  CheckRequired(config, source);
  return config;
}

}  // namespace genview
