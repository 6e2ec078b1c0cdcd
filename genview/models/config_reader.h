// A model's config.json, read member by member. What is not supported is refused by name: a model that silently ignores
// a setting gives wrong pictures, not errors.
//
//   ConfigReader reader(json, "unet/config.json");
//   config.groups = reader.Int("norm_num_groups", 32, 1, 4096);
//   reader.Allow("act_fn", {"silu", "swish"});       // anything else is an Error
//   reader.Finish();                                 // so is a member that nobody asked for (null and false are neutral)
#pragma once

#include <string>
#include <vector>

#include "genview/base/json.h"

namespace genview {

class ConfigReader {
 public:
  ConfigReader(const Json& object, std::string where);
  int64_t Int(const char* key, int64_t fallback, int64_t low, int64_t high);
  double Double(const char* key, double fallback);
  bool Bool(const char* key, bool fallback);
  std::string String(const char* key, const std::string& fallback);
  std::vector<std::string> Strings(const char* key, const std::vector<std::string>& fallback);
  // A number for all of `count` blocks, or a list with one for each.
  std::vector<int64_t> IntPerBlock(const char* key, int64_t fallback, size_t count, int64_t low, int64_t high);
  std::vector<double> Doubles(const char* key, const std::vector<double>& fallback);
  std::vector<int64_t> Ints(const char* key, const std::vector<int64_t>& fallback, int64_t low, int64_t high);
  void Allow(const char* key, std::vector<Json> values);  // only these values (and absence) are supported
  void Ignore(const char* key) { seen_.push_back(key); }  // means nothing for the arithmetic
  bool IsNull(const char* key) const;                     // absent or null: then the fallback is given
  void Finish() const;                                    // throws Error
  [[noreturn]] void Fail(const char* key, const std::string& wanted) const;  // value and `wanted` are named

 private:
  const Json& object_;
  std::string where_;
  std::vector<std::string> seen_;
};

}  // namespace genview
