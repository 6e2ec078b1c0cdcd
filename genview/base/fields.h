// One visitor per config names its fields; defaults, flags, --help, file reading, range checks and printing all
// come from it, so that a field cannot exist in one and be missing from another.
//
//   struct ViewsConfig { int64_t steps = 20; double guidance = 10; Policy policy = Policy::kAdaptive; };
//   template <class Visit> void VisitFields(ViewsConfig& c, Visit&& visit) {
//     visit("steps", c.steps, Range<int64_t>{1, 1000}, "denoising steps per view");
//     visit("guidance", c.guidance, Range<double>{0, 50}, "classifier-free guidance scale; 1 turns it off");
//     visit("policy", c.policy, Any{}, "how the noise level of an image is chosen");     // an enum, see EnumNames
//   }
//   ReadFields(config, document.values, {document.file, "views", &document.lines});      // throws UsageError
//   Json resolved = FieldsToJson(config);
//
// Field types: bool, int64_t, uint64_t, double, std::string, Path, enums with EnumNames, vectors of int64_t, double
// or std::string, and nested configs (a table; flag names are joined by "-", so quality.gamma is --quality-gamma).
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "genview/base/error.h"
#include "genview/base/json.h"
#include "genview/base/text.h"

namespace genview {

struct Any {};       // no further rule
struct Required {};  // a text or path that must not be empty when the stage begins (see CheckRequired)
struct Section {};   // for a nested config
template <class T>
struct Range {  // low <= value <= high; for a vector: each element
  T low, high;
};
template <class T>
struct RangeOrAuto : Range<T> {  // "auto" is read as 0, which lets the program choose
  static constexpr bool kTakesAuto = true;
};
template <class T>
struct RareRange : Range<T> {  // FieldsToJson leaves it out at this value: files from before the field stay the same
  T usual;
};

// Specialise with the names of an enum: template <> struct EnumNames<Policy> { static constexpr std::pair<Policy,
// const char*> kNames[] = {{Policy::kAdaptive, "adaptive"}, ...}; };
template <class E>
struct EnumNames;

template <class E>
std::string EnumName(E value) {
  for (const auto& [known, name] : EnumNames<E>::kNames) {
    if (known == value) return name;
  }
  throw std::logic_error("an enum value has no name");
}

template <class E>
std::vector<std::string> AllEnumNames() {
  std::vector<std::string> names;
  for (const auto& [known, name] : EnumNames<E>::kNames) names.emplace_back(name);
  return names;
}

// The name of FieldSource::file whose keys are flags: `quality.gamma` is then shown as --quality-gamma.
inline constexpr const char* kCommandLine = "command line";

// Where the values came from, for messages.
struct FieldSource {
  std::string file;    // "recipe.toml", "command line"
  std::string prefix;  // "pretrain.quality", may be empty
  const std::map<std::string, int>* lines = nullptr;
  const std::set<std::string>* flagless = nullptr;  // of a command line: what is given without a flag

  std::string Name(const std::string& key) const { return prefix.empty() ? key : prefix + "." + key; }
  std::string Where(const std::string& key) const;  // "recipe.toml, line 7, key `pretrain.epochs`"
  FieldSource Child(const std::string& key) const { return {file, Name(key), lines, flagless}; }
};

// What --help, the documentation and the command line need to know of a field.
struct FieldInfo {
  std::string name;  // "quality.gamma"
  std::string type;  // "number", "whole number", "text", "true|false", "a|b|c", "list of ..."
  Json default_value;
  std::string rule;  // "1 to 1000", "required" or ""
  std::string help;
  bool takes_auto = false;  // in place of a number
};

namespace fields_detail {

template <class T>
concept HasFields = requires(T& c) { VisitFields(c, [](auto&&...) {}); };

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};

[[noreturn]] void ThrowWrongType(const Json& value, const std::string& wanted, const FieldSource& source,
                                 const std::string& key);
[[noreturn]] void ThrowUnknownKey(const std::string& key, const std::vector<std::string>& known,
                                  const FieldSource& source);
[[noreturn]] void ThrowOutOfRange(const std::string& value, const std::string& rule, const FieldSource& source,
                                  const std::string& key);

template <class Rule>
constexpr bool TakesAuto() {
  return requires { Rule::kTakesAuto; };
}

template <class T>
std::string TypeName() {
  if constexpr (std::is_same_v<T, bool>) return "true|false";
  else if constexpr (std::is_enum_v<T>) return Format("{}", fmt::join(AllEnumNames<T>(), "|"));
  else if constexpr (std::is_integral_v<T>) return "whole number";
  else if constexpr (std::is_floating_point_v<T>) return "number";
  else if constexpr (IsVector<T>::value) return "list of " + TypeName<typename T::value_type>() + "s";
  else return "text";
}

template <class T>
T FromJson(const Json& value, const FieldSource& source, const std::string& key) {
  if constexpr (std::is_same_v<T, bool>) {
    if (value.is_boolean()) return value.get<bool>();
  } else if constexpr (std::is_enum_v<T>) {
    if (value.is_string()) {
      for (const auto& [known, name] : EnumNames<T>::kNames) {
        if (value.get<std::string>() == name) return known;
      }
      throw UsageError({.what = Format("`{}` has no value \"{}\"", source.Name(key), value.get<std::string>()),
                        .where = source.Where(key),
                        .next = SuggestName(value.get<std::string>(), AllEnumNames<T>())});
    }
  } else if constexpr (std::is_same_v<T, uint64_t>) {
    if (value.is_number_unsigned() || (value.is_number_integer() && value.get<int64_t>() >= 0))
      return value.get<uint64_t>();
  } else if constexpr (std::is_integral_v<T>) {
    if (value.is_number_integer() && !(value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX)) {
      return value.get<T>();
    }
  } else if constexpr (std::is_floating_point_v<T>) {
    if (value.is_number()) return value.get<T>();
  } else if constexpr (IsVector<T>::value) {
    if (value.is_array()) {
      T list;
      for (const Json& item : value) list.push_back(FromJson<typename T::value_type>(item, source, key));
      return list;
    }
  } else {
    if (value.is_string()) return T(value.get<std::string>());
  }
  ThrowWrongType(value, TypeName<T>(), source, key);
}

template <class T>
Json ToJson(const T& value) {
  if constexpr (std::is_enum_v<T>) return EnumName(value);
  else if constexpr (std::is_same_v<T, Path>) return value.string();
  else return value;
}

template <class T, class Bound>
void CheckRange(const T& value, const Range<Bound>& range, const FieldSource& source, const std::string& key) {
  if constexpr (IsVector<T>::value) {
    for (const auto& item : value) CheckRange(item, range, source, key);
  } else if (!(value >= static_cast<T>(range.low) && value <= static_cast<T>(range.high))) {
    ThrowOutOfRange(Format("{}", value), Format("{} to {}", range.low, range.high), source, key);
  }
}

}  // namespace fields_detail

// Reads the members of `object` that it has; others keep their value. Unknown keys, wrong types and values out of range
// throw UsageError, which names file, line and key, and for an unknown key the nearest known one.
template <class Config>
void ReadFields(Config& config, const Json& object, const FieldSource& source) {
  using namespace fields_detail;
  if (!object.is_object()) ThrowWrongType(object, "table", source, "");
  std::vector<std::string> known;
  VisitFields(config, [&](const char* name, auto& field, auto rule, const char*) {
    using T = std::remove_cvref_t<decltype(field)>;
    using Rule = decltype(rule);
    known.emplace_back(name);
    const auto found = object.find(name);
    if (found == object.end()) return;
    if constexpr (HasFields<T>) {
      ReadFields(field, *found, source.Child(name));
    } else if (TakesAuto<Rule>() && *found == "auto") {
      field = T{};
    } else {
      T value = FromJson<T>(*found, source, name);
      if constexpr (requires { rule.low; }) CheckRange(value, rule, source, name);
      static_assert(!std::is_same_v<Rule, Section>, "Section is for nested configs");
      field = std::move(value);
    }
  });
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) ThrowUnknownKey(key, known, source);
  }
}

template <class Config>
Json FieldsToJson(const Config& config) {
  Json object = Json::object();
  VisitFields(const_cast<Config&>(config), [&](const char* name, auto& field, auto rule, const char*) {
    using T = std::remove_cvref_t<decltype(field)>;
    if constexpr (requires { rule.usual; }) {
      if (field == rule.usual) return;
    }
    if constexpr (fields_detail::HasFields<T>) object[name] = FieldsToJson(field);
    else object[name] = fields_detail::ToJson(field);
  });
  return object;
}

template <class Config>
std::vector<FieldInfo> DescribeFields(const Config& defaults = {}, const std::string& prefix = "") {
  std::vector<FieldInfo> result;
  VisitFields(const_cast<Config&>(defaults), [&](const char* name, auto& field, auto rule, const char* help) {
    using T = std::remove_cvref_t<decltype(field)>;
    const std::string full = prefix.empty() ? name : prefix + "." + name;
    if constexpr (fields_detail::HasFields<T>) {
      for (auto& info : DescribeFields(field, full)) result.push_back(std::move(info));
    } else {
      std::string text;
      if constexpr (requires { rule.low; }) text = Format("{} to {}", rule.low, rule.high);
      if constexpr (std::is_same_v<decltype(rule), Required>) text = "required";
      result.push_back({full, fields_detail::TypeName<T>(), fields_detail::ToJson(field), text, help,
                        fields_detail::TakesAuto<decltype(rule)>()});
    }
  });
  return result;
}

// Throws UsageError for the first Required field that is still empty.
template <class Config>
void CheckRequired(const Config& config, const FieldSource& source) {
  VisitFields(const_cast<Config&>(config), [&](const char* name, auto& field, auto rule, const char* help) {
    if constexpr (std::is_same_v<decltype(rule), Required>) {
      if (field.empty()) {
        throw UsageError({.what = Format("`{}` is not set ({})", source.Name(name), help),
                          .where = source.Where(name),
                          .next = "give it a value"});
      }
    }
    if constexpr (fields_detail::HasFields<std::remove_cvref_t<decltype(field)>>)
      CheckRequired(field, source.Child(name));
  });
}

// The text of `--set key=value` as the Json that ReadFields takes: TOML values are taken as they are,
// anything else is a text. `name` may be dotted; the result is nested objects. `type`: FieldInfo::type.
Json AssignmentToJson(const std::string& name, const std::string& text, const std::string& type);

// Adds the members of `from` to `into`, table by table; other values are replaced.
void MergeJson(Json& into, const Json& from);

}  // namespace genview
