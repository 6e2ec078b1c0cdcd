// What --help and --version print, from the table of commands and the fields of their configs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"

namespace genview {

std::string VersionText();  // "genview 0.1.0 (LibTorch 2.11.0)"
std::string ProgramHelp();
std::string CommandHelp(const Command& command);
std::string GroupHelp(const std::string& group);  // of "foreground": the commands that begin with it; empty if none

// What a field is, with its range and default: "denoising steps per view [1 to 1000; default 20]"; for a place that has
// no room for them elsewhere also the choices.
std::string Explain(const FieldInfo& field);
std::string ExplainWithChoices(const FieldInfo& field);

// `text` from `column` on, wrapped at blanks and continued at `indent`, with a line's end.
void AppendWrapped(std::string& out, size_t column, size_t indent, const std::string& text);

// The answer when `words` (without the program's name) ask for help or the version, otherwise nothing.
std::optional<std::string> AnswerHelp(const std::vector<std::string>& words);

}  // namespace genview
