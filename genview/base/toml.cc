#include "genview/base/toml.h"

#include <sstream>

#include <toml++/toml.h>

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {
namespace {

Json Convert(const toml::node& node, const std::string& name, TomlDocument& document) {
  document.lines[name] = static_cast<int>(node.source().begin.line);
  if (const auto* table = node.as_table()) {
    Json object = Json::object();
    for (const auto& [key, value] : *table) {
      const std::string text(key.str());
      const std::string child = name.empty() ? text : name + "." + text;
      object[text] = Convert(value, child, document);
      if (key.source().begin.line > 0) document.lines[child] = static_cast<int>(key.source().begin.line);
    }
    return object;
  }
  if (const auto* array = node.as_array()) {
    Json list = Json::array();
    for (size_t i = 0; i < array->size(); ++i)
      list.push_back(Convert((*array)[i], Format("{}[{}]", name, i), document));
    return list;
  }
  if (const auto value = node.value<bool>(); node.is_boolean()) return *value;
  if (const auto value = node.value<int64_t>(); node.is_integer()) return *value;
  if (const auto value = node.value<double>(); node.is_floating_point()) return *value;
  if (const auto value = node.value<std::string>(); node.is_string()) return *value;
  throw UsageError({.what = Format("`{}` is a date or a time, which no key takes", name),
                    .where = Format("{}, line {}", document.file, node.source().begin.line),
                    .next = "write it as a text in quotes"});
}

struct TomlPrinter {
  const std::map<std::string, std::string>& comments;
  std::string text;

  void PrintComment(const std::string& name) {
    const auto comment = comments.find(name);
    if (comment == comments.end()) return;
    for (const auto& line : Split(comment->second, '\n')) text += Format("# {}\n", line);
  }

  void Print(const Json& object, const std::string& prefix) {
    const auto is_table = [](const Json& v) {
      return v.is_object() || (v.is_array() && !v.empty() && v[0].is_object());
    };
    const auto full = [&](const std::string& key) { return prefix.empty() ? key : prefix + "." + key; };
    for (const auto& [key, value] : object.items()) {
      if (is_table(value) || value.is_null()) continue;
      PrintComment(full(key));
      text += Format("{} = {}\n", key, value.dump());
    }
    for (const auto& [key, value] : object.items()) {
      if (!is_table(value)) continue;
      const std::string name = full(key);
      for (const Json& item : value.is_array() ? value : Json::array({value})) {
        text += '\n';
        PrintComment(name);
        text += value.is_array() ? Format("[[{}]]\n", name) : Format("[{}]\n", name);
        Print(item, name);
      }
    }
  }
};

size_t FirstNonUtf8Line(std::string_view text) {
  size_t line = 0;
  while (true) {
    ++line;
    const size_t end = text.find('\n');
    if (end == std::string_view::npos || !IsUtf8(text.substr(0, end))) return line;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

TomlDocument ParseToml(std::string_view text, std::string file) {
  TomlDocument document;
  document.file = std::move(file);
  if (!IsUtf8(text)) {
    throw UsageError({.what = "the recipe is not UTF-8 text",
                      .where = Format("{}, line {}", document.file, FirstNonUtf8Line(text)),
                      .next = "save it as UTF-8"});
  }
  try {
    const toml::table table = toml::parse(text, document.file);
    document.values = Convert(table, "", document);
  } catch (const toml::parse_error& error) {
    throw UsageError({.what = Format("not valid TOML: {}", error.description()),
                      .where = Format("{}, line {}", document.file, error.source().begin.line),
                      .next = "correct this line"});
  }
  return document;
}

TomlDocument ReadToml(const Path& path) { return ParseToml(ReadFile(path, uint64_t{16} << 20), path.string()); }

std::string ToToml(const Json& object, const std::map<std::string, std::string>& comments) {
  TomlPrinter printer{comments, ""};
  printer.Print(object, "");
  return std::move(printer.text);
}

}  // namespace genview
