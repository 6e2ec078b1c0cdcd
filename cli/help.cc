#include "cli/help.h"

#include <torch/headeronly/version.h>

#include "cli/args.h"

namespace genview {
namespace {

constexpr size_t kWidth = 100;

void AppendRow(std::string& out, const std::string& name, const std::string& text, size_t indent) {
  const std::string left = Format("  {}", name);
  const bool own_line = left.size() + 2 > indent;
  out += left;
  if (own_line) out += '\n';
  out.append(own_line ? indent : indent - left.size(), ' ');
  AppendWrapped(out, indent, indent, text);
}

std::string ValueName(const FieldInfo& field) {
  if (field.type == "true|false") return "";
  if (field.type.find('|') != std::string::npos) return field.type;
  if (field.type == "whole number") return field.takes_auto ? "N|auto" : "N";
  if (field.type == "number") return "X";
  if (field.type.starts_with("list of whole")) return "N,...";
  if (field.type.starts_with("list of number")) return "X,...";
  const std::string last = field.name.substr(field.name.rfind('.') + 1);
  for (const char* known : {"images", "train", "test"}) {
    if (last == known) return "IMAGES";
  }
  for (const char* known : {"encoder", "generator", "checkpoint"}) {
    if (last == known) return field.name == "checkpoint" ? "FILE" : field.name == "encoder" ? "ENCODER" : "GENERATOR";
  }
  return field.type.starts_with("list of") ? "TEXT,..." : "TEXT";
}

std::string DefaultText(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array()) {
    std::string text;
    for (const Json& item : value) {
      if (!text.empty()) text += ',';
      text += DefaultText(item);
    }
    return text;
  }
  return value.dump();
}

std::vector<std::string> Notes(const FieldInfo& field) {
  std::vector<std::string> notes;
  const size_t to = field.rule.find(" to ");
  double high = 0;
  if (field.rule == "required") notes.emplace_back("required");
  else if (to != std::string::npos && ParseDouble(std::string_view(field.rule).substr(to + 4), high) && high >= 1e6)
    notes.push_back(Format("at least {}", field.rule.substr(0, to)));
  else if (!field.rule.empty()) notes.push_back(field.rule);
  const std::string fallback = DefaultText(field.default_value);
  if (!fallback.empty() && fallback != "false" && fallback != "true" && field.rule != "required")
    notes.push_back("default " + fallback);
  return notes;
}

std::string WithNotes(const std::string& text, const std::vector<std::string>& notes) {
  return notes.empty() ? text : Format("{} [{}]", text, fmt::join(notes, "; "));
}

std::string OptionText(const FieldInfo& field) {
  const bool on = field.type == "true|false" && field.default_value == true;
  return Format("--{}{} {}", on ? "[no-]" : "", FlagName(field.name), ValueName(field));
}

std::string Upper(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return result;
}

void AppendCommands(std::string& out, const std::string& group) {
  for (const Command& command : AllCommands()) {
    if (!group.empty() && !command.name.starts_with(group + " ")) continue;
    AppendRow(out, std::string(command.name), std::string(command.summary), 20);
  }
}

}  // namespace

void AppendWrapped(std::string& out, size_t column, size_t indent, const std::string& text) {
  size_t used = column;
  bool first = true;
  for (const auto& word : Split(text, ' ')) {
    if (!first && used + 1 + word.size() > kWidth) {
      out += '\n';
      out.append(indent, ' ');
      used = indent;
    } else if (!first) {
      out += ' ';
      ++used;
    }
    out += word;
    used += word.size();
    first = false;
  }
  out += '\n';
}

std::string Explain(const FieldInfo& field) { return WithNotes(field.help, Notes(field)); }

std::string ExplainWithChoices(const FieldInfo& field) {
  std::vector<std::string> notes = Notes(field);
  if (field.type.find('|') != std::string::npos) notes.insert(notes.begin(), field.type);
  if (field.type == "true|false") notes.push_back(Format("default {}", field.default_value.dump()));
  return WithNotes(field.help, notes);
}

std::string VersionText() { return Format("genview {} (LibTorch {})", GENVIEW_VERSION, TORCH_VERSION); }

std::string ProgramHelp() {
  std::string out = "genview: better positive pairs for self-supervised image encoders\n\n";
  out += "usage: genview COMMAND [options]\n\ncommands:\n";
  AppendCommands(out, "");
  out += "\n`genview COMMAND --help` names the options of a command, `genview --version` the version.\n";
  out +=
      "IMAGES is a folder, a list file, tar shards `name-{0000..0127}.tar`, shapes:count=4096,size=64,seed=0,\n"
      "or subset:count=5000,seed=0,of=IMAGES, drawn from every class in proportion.\n";
  return out;
}

std::string GroupHelp(const std::string& group) {
  if (group.empty()) return "";
  std::string rows;
  AppendCommands(rows, group);
  return rows.empty() ? "" : Format("usage: genview {} COMMAND [options]\n\ncommands:\n{}", group, rows);
}

std::string CommandHelp(const Command& command) {
  std::string out;
  const char* blank = command.usage.empty() ? "" : " ";
  AppendWrapped(out, 0, 15, Format("usage: genview {}{}{}", command.name, blank, command.usage));
  out += Format("\n{}\n", command.summary);
  const auto fields = FieldsOf(command);
  const auto is_positional = [&](const FieldInfo& field) {
    return std::find(std::begin(command.positionals), std::end(command.positionals), field.name) !=
           std::end(command.positionals);
  };
  std::string positionals, options, common;
  for (const auto& field : fields) {
    if (is_positional(field)) {
      AppendRow(positionals, Upper(field.name), Explain(field), 28);
      continue;
    }
    std::string& list = field.name.starts_with("run.") ? common : options;
    AppendRow(list, OptionText(field), Explain(field), 28);
  }
  for (const auto& field : ProgramFieldsOf(command)) {
    AppendRow(common, OptionText(field), Explain(field), 28);
  }
  if (!positionals.empty()) out += "\n" + positionals;
  if (!options.empty()) out += "\noptions:\n" + options;
  out += "\ncommon options:\n" + common;
  AppendRow(out, "--help", "this text", 28);
  std::string idle;
  for (const auto& field : IdleFieldsOf(command))
    idle += Format("{}--{}", idle.empty() ? "" : ", ", FlagName(field.name));
  if (!idle.empty()) AppendWrapped(out, 0, 2, Format("  taken, too, and of no effect here: {}", idle));
  return out;
}

std::optional<std::string> AnswerHelp(const std::vector<std::string>& words) {
  if (words.empty()) return std::nullopt;
  if (words[0] == "--version") return VersionText() + "\n";
  if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    if (words.size() == 1) return ProgramHelp();
    return AnswerHelp(words[0] == "help" ? [&] {
      std::vector<std::string> rest(words.begin() + 1, words.end());
      rest.emplace_back("--help");
      return rest;
    }()
                                         : std::vector<std::string>{"--help"});
  }
  // Words behind "--" are no options.
  const auto end = std::find(words.begin(), words.end(), "--");
  if (std::find(words.begin(), end, "--help") == end && std::find(words.begin(), end, "-h") == end) return std::nullopt;
  size_t taken = 0;
  if (const Command* command = FindCommand(words, &taken)) return CommandHelp(*command);
  if (std::string text = GroupHelp(words[0]); !text.empty()) return text;
  return std::nullopt;
}

}  // namespace genview
