// The commands of the program as one constant table: --help, the nearest name of a mistyped command, and the call all
// come from it. A new command is one row here and one file beside this one.
//
//   const Command* command = FindCommand({"foreground", "fit", "images/"}, &words);    // words = 2
//   return command->run(args, progress);
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "genview/base/fields.h"
#include "genview/base/progress.h"

namespace genview {

struct Args;

// Exit codes, fixed.
inline constexpr int kOk = 0, kFailed = 1, kWrongUse = 2, kInterrupted = 130;

// The table is read before static constructors have run (see early_start.cc), so it holds constants and functions
// alone.
struct Command {
  std::string_view name;               // "foreground fit"
  std::string_view usage;              // what follows the name, for --help
  std::string_view summary;            // one line
  std::string_view positionals[2];     // fields that are given without a flag, in order; may be empty
  std::vector<FieldInfo> (*fields)();  // every field of the command's config
  int (*run)(const Args&, Progress&);
  bool shared = false;                // several processes may do it together
  std::string_view to_save_memory{};  // where it is not a smaller --batch that helps, see ToSaveMemory
};

struct CommandTable {
  const Command* rows;
  size_t size;
  const Command* begin() const { return rows; }
  const Command* end() const { return rows + size; }
};
CommandTable AllCommands();

// The command that `words` begin with, and how many of them its name takes. Null when none does.
const Command* FindCommand(const std::vector<std::string>& words, size_t* taken);

// Its fields without those of RunOptions that it has a field of its own for: a training's batch is not the frozen
// models'.
std::vector<FieldInfo> FieldsOf(const Command& command);

// The options of RunOptions that a command takes as every other does, but that change nothing in it.
std::vector<FieldInfo> IdleFieldsOf(const Command& command);

// What the user is told to do where memory runs out. Empty for a command in which --batch has no effect.
std::string_view ToSaveMemory(const Command& command);

// Where a field comes from on the command line: `quality.gamma` is --quality-gamma, and the fields of RunOptions, which
// every stage keeps in `run`, lose that part: `run.threads` is --threads.
std::string FlagName(std::string_view field);

}  // namespace genview
