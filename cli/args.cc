#include "cli/args.h"

#include <algorithm>
#include <stdexcept>

#include <CLI/CLI.hpp>

#include "genview/tensor/run_options.h"

namespace genview {
namespace {

bool IsPositional(const Command& command, const std::string& field) {
  return std::find(std::begin(command.positionals), std::end(command.positionals), field) !=
         std::end(command.positionals);
}

bool IsList(const FieldInfo& field) { return field.type.starts_with("list of"); }

// What the user typed for one field.
struct Given {
  FieldInfo field;
  bool positional = false;
  bool of_program = false;
  bool idle = false;  // taken and checked, and of no effect in this command
  std::vector<std::string> texts;
  std::string Name() const { return positional ? Format("<{}>", field.name) : Format("--{}", FlagName(field.name)); }
};

// A number, true or false, or the text itself: ReadFields says what was expected if it does not fit.
Json ScalarFromText(const std::string& text, std::string_view type) {
  if (type.starts_with("true")) {
    if (text == "true" || text == "1") return true;
    if (text == "false" || text == "0") return false;
  }
  int64_t whole = 0;
  uint64_t large = 0;
  double real = 0;
  if (type.starts_with("whole number")) {
    if (ParseInt(text, whole)) return whole;
    if (ParseUint(text, large)) return large;
  }
  if (type.starts_with("number") && ParseDouble(text, real)) return real;
  return text;
}

Json ValueFromTexts(const Given& given) {
  const std::string& type = given.field.type;
  if (!IsList(given.field)) return ScalarFromText(given.texts.back(), type);
  const std::string_view element = std::string_view(type).substr(sizeof("list of ") - 1);
  Json list = Json::array();
  for (const auto& text : given.texts) {
    // Words given one by one, and assignments, may hold commas of their own.
    const bool whole = given.positional || (element.starts_with("text") && text.find('=') != std::string::npos);
    for (const auto& part : whole ? std::vector<std::string>{text} : Split(text, ',')) {
      if (whole || !Trim(part).empty()) list.push_back(ScalarFromText(std::string(Trim(part)), element));
    }
  }
  return list;
}

void Put(Json& object, std::string_view field, Json value) {
  Json* place = &object;
  for (const auto& part : Split(field, '.')) place = &(*place)[part];
  *place = std::move(value);
}

std::vector<Given> Declare(const Command& command, CLI::App& app) {
  std::vector<Given> all;
  for (auto& info : FieldsOf(command)) all.push_back({.field = std::move(info), .texts = {}});
  for (auto& info : ProgramFieldsOf(command))
    all.push_back({.field = std::move(info), .of_program = true, .texts = {}});
  for (auto& info : IdleFieldsOf(command)) all.push_back({.field = std::move(info), .idle = true, .texts = {}});
  for (auto& given : all) given.positional = IsPositional(command, given.field.name);
  // The addresses of `texts` stay: `all` does not grow from here on.
  const auto add = [&](Given& given) {
    const auto take = [&given](const std::vector<std::string>& texts) {
      given.texts.insert(given.texts.end(), texts.begin(), texts.end());
      return true;
    };
    const std::string flag = FlagName(given.field.name);
    if (given.field.type == "true|false" && !given.positional) {
      app.add_flag_function(Format("--{0},!--no-{0}", flag),
                            [&given](int64_t count) { given.texts.emplace_back(count > 0 ? "true" : "false"); });
      return;
    }
    CLI::Option* option = app.add_option(given.positional ? flag : Format("--{}", flag), take);
    if (IsList(given.field))
      option->expected(1, given.positional ? 1 << 20 : 1)->take_all()->allow_extra_args(given.positional);
    else option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  };
  for (const std::string_view name : command.positionals) {
    for (auto& given : all) {
      if (given.positional && given.field.name == name) add(given);
    }
  }
  for (auto& given : all) {
    if (!given.positional) add(given);
  }
  return all;
}

std::string HelpCommand(const Command& command) { return Format("genview {} --help", command.name); }

[[noreturn]] void RefuseExtra(const Command& command, const std::string& word, const std::vector<Given>& known) {
  if (!word.starts_with("-") || word == "-") {
    throw UsageError({.what = Format("`{}` is one argument too many", word),
                      .where = kCommandLine,
                      .next = Format("see `{}`", HelpCommand(command))});
  }
  std::vector<std::string> names = {"--help"};
  for (const auto& given : known) {
    if (!given.positional) names.push_back(given.Name());
  }
  const std::string flag = word.substr(0, word.find('='));
  const std::string nearest = NearestName(flag, names);
  throw UsageError(
      {.what = Format("`genview {}` has no option `{}`", command.name, flag),
       .where = kCommandLine,
       .next = nearest.empty() ? Format("see `{}`", HelpCommand(command)) : Format("did you mean `{}`?", nearest)});
}

// `--json=maybe`: CLI11 takes the value for a number without looking.
[[noreturn]] void RefuseFlagValue(const Command& command, const std::vector<std::string>& words,
                                  const std::vector<Given>& known) {
  std::string named = "an option";
  for (const std::string& word : words) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos) continue;
    const std::string name = word.substr(0, equals), value = word.substr(equals + 1);
    const bool is_flag = std::any_of(known.begin(), known.end(), [&](const Given& given) {
      const std::string flag = FlagName(given.field.name);
      return given.field.type == "true|false" && (name == Format("--{}", flag) || name == Format("--no-{}", flag));
    });
    if (is_flag && value != "true" && value != "false") named = Format("`{}`", name);
  }
  throw UsageError({.what = Format("{} is not set to true or false", named),
                    .where = kCommandLine,
                    .next = Format("give it without a value; see `{}`", HelpCommand(command))});
}

}  // namespace

std::set<std::string> FlaglessOf(const Command& command) {
  std::set<std::string> names(std::begin(command.positionals), std::end(command.positionals));
  names.erase("");
  return names;
}

std::vector<FieldInfo> ProgramFieldsOf(const Command& command) {
  std::vector<FieldInfo> fields = DescribeFields<ProgramOptions>();
  if (!command.shared) std::erase_if(fields, [](const FieldInfo& field) { return field.name == "processes"; });
  return fields;
}

Args ParseArgs(const Command& command, const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    if (IsUtf8(word)) continue;
    throw UsageError({.what = "a word of the command line is not UTF-8 text",
                      .where = kCommandLine,
                      .next = "rename the file or folder; inside a folder of images any name is read"});
  }
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  std::vector<Given> all = Declare(command, app);
  try {
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));  // CLI11 takes the last word first
  } catch (const CLI::ParseError& error) {
    // "--steps: 1 required TEXT missing": the option's name is all that is worth keeping.
    const std::string text = error.what();
    const std::string option = text.substr(0, text.find_first_of(": "));
    throw UsageError(
        {.what = option.starts_with("-") ? Format("`{}` needs a value", option) : "the command line cannot be read",
         .where = kCommandLine,
         .next = Format("see `{}`", HelpCommand(command))});
  } catch (const std::logic_error&) {
    RefuseFlagValue(command, words, all);
  }
  if (const auto extras = app.remaining(); !extras.empty()) RefuseExtra(command, extras.front(), all);

  Args args;
  args.command = &command;
  Json program = Json::object(), idle = Json::object();
  for (const auto& given : all) {
    if (given.texts.empty()) {
      if (given.field.rule != "required") continue;
      throw UsageError({.what = Format("{} is missing ({})", given.Name(), given.field.help),
                        .where = kCommandLine,
                        .next = Format("genview {} {}", command.name, command.usage)});
    }
    Json& values = given.of_program ? program : given.idle ? idle : args.values;
    Put(values, given.field.name, ValueFromTexts(given));
  }
  if (RunOptions unused; idle.contains("run"))
    ReadFields(unused, idle["run"], {.file = kCommandLine, .prefix = "", .lines = nullptr});
  ReadFields(args.program, program, {.file = kCommandLine, .prefix = "", .lines = nullptr});
  return args;
}

}  // namespace genview
