#include "genview/base/fields.h"

#include <algorithm>

#include "genview/base/toml.h"

namespace genview {

std::string FieldSource::Where(const std::string& key) const {
  const std::string name = Name(key);
  if (file == kCommandLine) {
    if (flagless != nullptr && flagless->contains(name)) return Format("{}, <{}>", file, name);
    std::string flag = name.starts_with("run.") ? name.substr(4) : name;
    std::replace_if(flag.begin(), flag.end(), [](char c) { return c == '.' || c == '_'; }, '-');
    return Format("{}, --{}", file, flag);
  }
  if (lines != nullptr) {
    if (const auto line = lines->find(name); line != lines->end()) {
      return Format("{}, line {}, key `{}`", file, line->second, name);
    }
  }
  return Format("{}, key `{}`", file, name);
}

namespace fields_detail {

void ThrowWrongType(const Json& value, const std::string& wanted, const FieldSource& source, const std::string& key) {
  throw UsageError({.what = Format("`{}` is {}, which is not a {}", key.empty() ? source.prefix : source.Name(key),
                                   Printable(value.dump(-1, ' ', false, Json::error_handler_t::replace), 80), wanted),
                    .where = key.empty() ? Format("{}, key `{}`", source.file, source.prefix) : source.Where(key),
                    .next = Format("give a {}", wanted)});
}

void ThrowUnknownKey(const std::string& key, const std::vector<std::string>& known, const FieldSource& source) {
  throw UsageError({.what = Format("unknown key `{}`", source.Name(key)),
                    .where = source.Where(key),
                    .next = SuggestName(key, known)});
}

void ThrowOutOfRange(const std::string& value, const std::string& rule, const FieldSource& source,
                     const std::string& key) {
  throw UsageError({.what = Format("`{}` is {}, allowed are {}", source.Name(key), value, rule),
                    .where = source.Where(key),
                    .next = Format("choose a value from {}", rule)});
}

}  // namespace fields_detail

Json AssignmentToJson(const std::string& name, const std::string& text, const std::string& type) {
  Json value = text;
  const bool is_text = type == "text" || type.find('|') != std::string::npos;
  if (!is_text || type == "true|false") {
    try {
      value = ParseToml("value = " + text, "value").values["value"];
    } catch (const UsageError&) {
      value = text;  // ReadFields will say what was expected
    }
    if (type.starts_with("list of") && !value.is_array()) {
      Json list = Json::array();
      for (const auto& part : Split(text, ',')) {
        if (Trim(part).empty()) continue;
        list.push_back(
            AssignmentToJson("x", std::string(Trim(part)), type == "list of texts" ? "text" : "number")["x"]);
      }
      value = list;
    }
  }
  Json result = value;
  const auto parts = Split(name, '.');
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    Json object = Json::object();
    object[*part] = std::move(result);
    result = std::move(object);
  }
  return result;
}

void MergeJson(Json& into, const Json& from) {
  if (!into.is_object() || !from.is_object()) {
    into = from;
    return;
  }
  for (const auto& [key, value] : from.items()) {
    if (value.is_object() && into.contains(key)) MergeJson(into[key], value);
    else into[key] = value;
  }
}

}  // namespace genview
