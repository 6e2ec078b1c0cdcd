#include <unordered_map>

#include "genview/base/text.h"
#include "genview/records/records.h"

namespace genview {
namespace {

[[noreturn]] void Fail(const std::string& what, const std::string& where) {
  throw Error({.what = what, .where = where, .next = "make the views again, or take this line out of the manifest"});
}

uint64_t UnsignedOf(const Json& json, const char* key, const std::string& where) {
  const auto found = json.find(key);
  if (found == json.end()) return 0;
  if (found->is_number_unsigned()) return found->get<uint64_t>();
  if (found->is_number_integer() && found->get<int64_t>() >= 0) return found->get<uint64_t>();
  Fail(Format("`{}` is not a whole number of at least 0", key), where);
}

// A manifest from elsewhere must not make anything outside of its folder be read.
bool StaysInside(const Path& file) {
  if (file.empty() || file.is_absolute()) return false;
  for (const Path& part : file) {
    if (part == "..") return false;
  }
  return true;
}

}  // namespace

ViewRow ViewRowFromJson(const Json& json, const std::string& where) {
  if (!json.is_object()) Fail("a line that is not a JSON object", where);
  ViewRow row;
  row.id = JsonString(json, "id", "", where);
  row.index = JsonInt(json, "index", 0, where);
  row.file = JsonString(json, "file", "", where);
  row.shard = JsonString(json, "shard", "", where);
  row.offset = UnsignedOf(json, "offset", where);
  row.noise_level = JsonInt(json, "noise_level", 0, where);
  row.seed = UnsignedOf(json, "seed", where);
  row.steps = JsonInt(json, "steps", 0, where);
  row.guidance = JsonDouble(json, "guidance", 0, where);
  row.generator = JsonString(json, "generator", "", where);
  row.scheduler = JsonString(json, "scheduler", "", where);
  row.retried = JsonInt(json, "retried", 0, where);
  row.prompt = JsonString(json, "prompt", "", where);
  row.negative_prompt = JsonString(json, "negative_prompt", "", where);
  row.width = JsonInt(json, "width", 0, where);
  row.height = JsonInt(json, "height", 0, where);
  row.bytes = UnsignedOf(json, "bytes", where);
  row.hash = JsonString(json, "hash", "", where);
  row.picture = JsonString(json, "picture", "", where);
  row.fault = JsonString(json, "fault", "", where);
  if (row.id.empty()) Fail("a view without the `id` of its image", where);
  if (row.index < 0) Fail(Format("the view index {} is below 0", row.index), where);
  if (!StaysInside(row.file))
    Fail(Format("`file` (\"{}\") is not a path inside the manifest's folder", row.file), where);
  if (!row.shard.empty() && !StaysInside(row.shard))
    Fail(Format("`shard` (\"{}\") is not a path inside the manifest's folder", row.shard), where);
  return row;
}

Json ViewRowToJson(const ViewRow& row) {
  Json json = {{"id", row.id},
               {"index", row.index},
               {"file", row.file},
               {"noise_level", row.noise_level},
               {"seed", row.seed},
               {"steps", row.steps},
               {"guidance", row.guidance},
               {"generator", row.generator},
               {"scheduler", row.scheduler},
               {"retried", row.retried}};
  if (!row.shard.empty()) {
    json["shard"] = row.shard;
    json["offset"] = row.offset;
  }
  if (!row.prompt.empty()) json["prompt"] = row.prompt;
  if (!row.negative_prompt.empty()) json["negative_prompt"] = row.negative_prompt;
  if (row.width != 0 || row.height != 0) {
    json["width"] = row.width;
    json["height"] = row.height;
  }
  if (!row.hash.empty()) {
    json["bytes"] = row.bytes;
    json["hash"] = row.hash;
  }
  if (!row.picture.empty()) json["picture"] = row.picture;
  if (!row.fault.empty()) json["fault"] = row.fault;
  return json;
}

std::vector<ViewRow> ReadViewTable(const Path& manifest) {
  const std::vector<std::string> lines = ReadLines(manifest, /*keep_torn=*/false);
  std::vector<ViewRow> rows;
  std::unordered_map<std::string, size_t> place;  // a view that was made again replaces the one before
  for (size_t i = 0; i < lines.size(); ++i) {
    if (Trim(lines[i]).empty()) continue;
    const std::string where = Format("{}, line {}", manifest.string(), i + 1);
    ViewRow row = ViewRowFromJson(ParseJson(lines[i], where), where);
    const auto [known, is_new] = place.emplace(Format("{}\t{}", row.index, row.id), rows.size());
    if (is_new) rows.push_back(std::move(row));
    else rows[known->second] = std::move(row);
  }
  return rows;
}

}  // namespace genview
