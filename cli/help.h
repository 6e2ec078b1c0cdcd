// What --help and --version print, from the table of commands and the fields of their configs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"

namespace genview {

std::string VersionText();                      // "genview 0.1.0 (LibTorch 2.11.0)"
std::string ProgramHelp();
std::string CommandHelp(const Command& command);
std::string GroupHelp(const std::string& group);  // of "foreground": the commands that begin with it; empty if none

// The answer when `words` (without the program's name) ask for help or the version, otherwise nothing.
std::optional<std::string> AnswerHelp(const std::vector<std::string>& words);

}  // namespace genview
