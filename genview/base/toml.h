// TOML text as a Json tree plus the line of every key, so that an error can say where.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "genview/base/json.h"

namespace genview {

struct TomlDocument {
  Json values = Json::object();      // tables are objects, arrays of tables are arrays of objects
  std::map<std::string, int> lines;  // "pretrain.quality.gamma", "arms[1].set" -> line, from 1
  std::string file;                  // for messages
};

TomlDocument ParseToml(std::string_view text, std::string file);  // throws UsageError with the line
TomlDocument ReadToml(const Path& path);

// Scalars first, then tables; the inverse of ParseToml. Throws UsageError for a text that is not UTF-8. `comments` of
// keys and tables by their dotted names
// ("pretrain.lr") go on lines of their own above them.
std::string ToToml(const Json& object, const std::map<std::string, std::string>& comments = {});

}  // namespace genview
