#include "cli/command.h"

#include "cli/commands.h"

namespace genview {
namespace {

constexpr Command kCommands[] = {
    {"report", "DIR... [--out report.html]", "one self-contained HTML page of one or several runs", {"runs"}, ReportFields, RunReport},
    {"inspect", "FILE", "what a weights file, checkpoint, list, table, shard or folder holds", {"file"}, InspectFields, RunInspect},
    {"doctor", "", "versions, devices, threads, memory, and a small model on each device compared with the CPU", {}, DoctorFields,
     RunDoctor},
};

}  // namespace

CommandTable AllCommands() { return {kCommands, std::size(kCommands)}; }

const Command* FindCommand(const std::vector<std::string>& words, size_t* taken) {
  for (const size_t count : {size_t{2}, size_t{1}}) {
    if (words.size() < count) continue;
    std::string name = words[0];
    if (count == 2) name.append(" ").append(words[1]);
    for (const Command& command : AllCommands()) {
      if (command.name == name) {
        *taken = count;
        return &command;
      }
    }
  }
  return nullptr;
}

std::string FlagName(std::string_view field) {
  if (field.starts_with("run.")) field.remove_prefix(4);
  std::string flag(field);
  for (char& c : flag) {
    if (c == '.' || c == '_') c = '-';
  }
  return flag;
}

}  // namespace genview
