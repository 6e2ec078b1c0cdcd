// JSON values with keys in the order they were added, and readers that answer a wrong file with an Error.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "genview/base/error.h"
#include "genview/base/files.h"

namespace genview {

using Json = nlohmann::ordered_json;

// Depth of nesting is bounded (64), and so are the keys of an object (70,000, of many objects fewer: see SortedJson);
// `where` names the file in the Error.
Json ParseJson(std::string_view text, std::string_view where);
Json ReadJson(const Path& path);
void WriteJson(const Path& path, const Json& value);  // indented, atomically, with a final newline

// Members of an object that came from outside: the Error names file and key. Missing keys give `fallback`.
int64_t JsonInt(const Json& object, const char* key, int64_t fallback, std::string_view where);
double JsonDouble(const Json& object, const char* key, double fallback, std::string_view where);
bool JsonBool(const Json& object, const char* key, bool fallback, std::string_view where);
std::string JsonString(const Json& object, const char* key, std::string fallback, std::string_view where);
std::vector<int64_t> JsonInts(const Json& object, const char* key, std::vector<int64_t> fallback,
                              std::string_view where);
std::vector<std::string> JsonStrings(const Json& object, const char* key, std::vector<std::string> fallback,
                                     std::string_view where);

// Files of this program say in `format` how they are to be read. A newer number than the one that is known here is
// refused: the file could be read as something else than it is. Without a number it is 1.
class NewerFormatError : public Error {
 public:
  using Error::Error;
};
void RefuseNewerFormat(const Json& meta, int64_t known, std::string_view where);

}  // namespace genview
