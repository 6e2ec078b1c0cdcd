#include "genview/models/config_reader.h"

#include <algorithm>

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {

ConfigReader::ConfigReader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
  if (!object.is_object()) {
    throw Error({.what = "a model configuration is not a JSON object",
                 .where = where_,
                 .next = "give the model's own config.json"});
  }
}

bool ConfigReader::IsNull(const char* key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null();
}

void ConfigReader::Fail(const char* key, const std::string& wanted) const {
  const auto found = object_.find(key);
  const std::string value = found == object_.end() ? "missing" : Printable(found->dump(), 80);
  throw Error({.what = Format("`{}` is {}; supported: {}", key, value, wanted),
               .where = where_,
               .next = "use a model of a supported kind"});
}

int64_t ConfigReader::Int(const char* key, int64_t fallback, int64_t low, int64_t high) {
  seen_.emplace_back(key);
  if (IsNull(key)) return fallback;
  const int64_t value = JsonInt(object_, key, fallback, where_);
  if (value < low || value > high) Fail(key, Format("{} to {}", low, high));
  return value;
}

double ConfigReader::Double(const char* key, double fallback) {
  seen_.emplace_back(key);
  return IsNull(key) ? fallback : JsonDouble(object_, key, fallback, where_);
}

bool ConfigReader::Bool(const char* key, bool fallback) {
  seen_.emplace_back(key);
  return IsNull(key) ? fallback : JsonBool(object_, key, fallback, where_);
}

std::string ConfigReader::String(const char* key, const std::string& fallback) {
  seen_.emplace_back(key);
  return IsNull(key) ? fallback : JsonString(object_, key, fallback, where_);
}

std::vector<std::string> ConfigReader::Strings(const char* key, const std::vector<std::string>& fallback) {
  seen_.emplace_back(key);
  return IsNull(key) ? fallback : JsonStrings(object_, key, fallback, where_);
}

std::vector<double> ConfigReader::Doubles(const char* key, const std::vector<double>& fallback) {
  seen_.emplace_back(key);
  if (IsNull(key)) return fallback;
  const Json& list = object_.at(key);
  std::vector<double> values;
  for (const Json& item : list) {
    if (!list.is_array() || !item.is_number()) Fail(key, "a list of numbers");
    values.push_back(item.get<double>());
  }
  return values;
}

std::vector<int64_t> ConfigReader::Ints(const char* key, const std::vector<int64_t>& fallback, int64_t low,
                                        int64_t high) {
  seen_.emplace_back(key);
  if (IsNull(key)) return fallback;
  std::vector<int64_t> values = JsonInts(object_, key, fallback, where_);
  for (const int64_t value : values) {
    if (value < low || value > high) Fail(key, Format("numbers from {} to {}", low, high));
  }
  return values;
}

std::vector<int64_t> ConfigReader::IntPerBlock(const char* key, int64_t fallback, size_t count, int64_t low,
                                               int64_t high) {
  const auto found = object_.find(key);
  if (found == object_.end() || !found->is_array()) return std::vector<int64_t>(count, Int(key, fallback, low, high));
  std::vector<int64_t> values = Ints(key, {}, low, high);
  if (values.size() != count) Fail(key, Format("one number, or one for each of the {} blocks", count));
  return values;
}

void ConfigReader::Allow(const char* key, std::vector<Json> values) {
  seen_.emplace_back(key);
  const auto found = object_.find(key);
  if (found == object_.end()) return;
  if (std::find(values.begin(), values.end(), *found) != values.end()) return;
  std::vector<std::string> names;
  for (const Json& value : values) names.push_back(value.dump());
  Fail(key, Format("{}", fmt::join(names, ", ")));
}

void ConfigReader::Finish() const {
  for (const auto& [key, value] : object_.items()) {
    if (key.starts_with("_") || value.is_null() || value == Json(false)) continue;
    if (std::find(seen_.begin(), seen_.end(), key) == seen_.end())
      Fail(key.c_str(), "this key is not known here; null or false");
  }
}

}  // namespace genview
