#include "genview/base/json.h"

#include <type_traits>

#include "genview/base/error.h"
#include "genview/base/sorted_json.h"
#include "genview/base/text.h"

namespace genview {
namespace {

constexpr int kMaxDepth = 64;
// Of an object whose keys are in the order they were added, each new key is compared with all before it. So many
// comparisons take seconds: one object of 70,000 keys, or many smaller ones.
constexpr uint64_t kMostCompared = 2'500'000'000;

[[noreturn]] void WrongType(const char* key, const char* wanted, std::string_view where) {
  throw Error({.what = Format("`{}` is not {}", key, wanted),
               .where = std::string(where),
               .next = "correct the value, or get the file again from where it came"});
}

// `read(value)` for the member, `fallback` when there is none or it is null.
template <class T, class Read>
T Member(const Json& object, const char* key, T fallback, Read&& read) {
  if (!object.is_object()) return fallback;
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return fallback;
  return read(*found);
}

// One that int64_t does not hold would come out as another.
int64_t Whole(const Json& value, const char* key, const char* wanted, std::string_view where) {
  const bool fits =
      value.is_number_integer() && !(value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX});
  if (!fits) WrongType(key, wanted, where);
  return value.get<int64_t>();
}

template <class AnyJson>
AnyJson Parse(std::string_view text, std::string_view where) {
  // The depth is checked before the parser recurses into values (and their destructors).
  int depth = 0;
  bool in_string = false;
  uint64_t keys[kMaxDepth + 1] = {}, compared = 0;  // keys: of the object that is open at each depth
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      else if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) {
        throw Error({.what = Format("the JSON is nested more than {} levels deep", kMaxDepth),
                     .where = Format("{}, byte {}", where, i),
                     .next = "check that this is the file you mean"});
      }
      if (depth > 0) keys[depth] = 0;
    } else if (c == '}' || c == ']') {
      --depth;
    } else if (c == ':' && depth > 0 && std::is_same_v<AnyJson, Json>) {
      compared += keys[depth]++;
      if (compared > kMostCompared) {
        throw Error({.what = "the JSON has objects of more keys than are read here",
                     .where = Format("{}, byte {}", where, i),
                     .next = "check that this is the file you mean"});
      }
    }
  }
  try {
    return AnyJson::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    throw Error({.what = "the text is not valid JSON",
                 .where = Format("{}, byte {}", where, error.byte),
                 .next = "correct the file, or get it again from where it came"});
  } catch (const nlohmann::json::out_of_range&) {
    throw Error({.what = "the JSON holds a number too large for this program",
                 .where = std::string(where),
                 .next = "correct the file, or get it again from where it came"});
  }
}

template <class AnyJson>
AnyJson Read(const Path& path) {
  const MappedFile mapped(path);
  if (mapped.size() > (uint64_t{256} << 20)) {
    throw Error({.what = Format("a JSON file of {} is too large", HumanBytes(mapped.size())),
                 .where = path.string(),
                 .next = "check that this is the file you mean"});
  }
  return Parse<AnyJson>(mapped.text(), path.string());
}

}  // namespace

Json ParseJson(std::string_view text, std::string_view where) { return Parse<Json>(text, where); }
Json ReadJson(const Path& path) { return Read<Json>(path); }
SortedJson ParseSortedJson(std::string_view text, std::string_view where) { return Parse<SortedJson>(text, where); }
SortedJson ReadSortedJson(const Path& path) { return Read<SortedJson>(path); }

void WriteJson(const Path& path, const Json& value) {
  WriteFile(path, value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

int64_t JsonInt(const Json& object, const char* key, int64_t fallback, std::string_view where) {
  return Member(object, key, fallback, [&](const Json& value) { return Whole(value, key, "a whole number", where); });
}

double JsonDouble(const Json& object, const char* key, double fallback, std::string_view where) {
  return Member(object, key, fallback, [&](const Json& value) -> double {
    if (!value.is_number()) WrongType(key, "a number", where);
    return value.get<double>();
  });
}

bool JsonBool(const Json& object, const char* key, bool fallback, std::string_view where) {
  return Member(object, key, fallback, [&](const Json& value) -> bool {
    if (!value.is_boolean()) WrongType(key, "true or false", where);
    return value.get<bool>();
  });
}

std::string JsonString(const Json& object, const char* key, std::string fallback, std::string_view where) {
  return Member(object, key, std::move(fallback), [&](const Json& value) -> std::string {
    if (!value.is_string()) WrongType(key, "a text", where);
    return value.get<std::string>();
  });
}

std::vector<int64_t> JsonInts(const Json& object, const char* key, std::vector<int64_t> fallback,
                              std::string_view where) {
  return Member(object, key, std::move(fallback), [&](const Json& value) {
    std::vector<int64_t> result;
    if (!value.is_array()) WrongType(key, "a list of whole numbers", where);
    for (const Json& item : value) result.push_back(Whole(item, key, "a list of whole numbers", where));
    return result;
  });
}

std::vector<std::string> JsonStrings(const Json& object, const char* key, std::vector<std::string> fallback,
                                     std::string_view where) {
  return Member(object, key, std::move(fallback), [&](const Json& value) {
    std::vector<std::string> result;
    if (!value.is_array()) WrongType(key, "a list of texts", where);
    for (const Json& item : value) {
      if (!item.is_string()) WrongType(key, "a list of texts", where);
      result.push_back(item.get<std::string>());
    }
    return result;
  });
}

void RefuseNewerFormat(const Json& meta, int64_t known, std::string_view where) {
  const int64_t format = JsonInt(meta, "format", 1, where);
  if (format <= known) return;
  throw NewerFormatError(
      {.what = Format("made by a newer version of this program: format {}, where {} is known", format, known),
       .where = std::string(where),
       .next = "use the version that made it, or a newer one"});
}

}  // namespace genview
