#include "genview/views/request.h"

namespace genview {
namespace {

// 2: levels are those that were given; before, the usual ones stood for none.
constexpr const char* kVersion = "version";
constexpr const char* kPaths[] = {"generator", "ratios", "noise"};

std::string SeenFrom(const std::string& path, const Path& out) {
  if (path.empty()) return path;
  std::error_code code;
  const Path folder = std::filesystem::absolute(out, code).lexically_normal();
  const Path whole = std::filesystem::absolute(path, code).lexically_normal();
  const Path parent = folder.has_filename() ? folder.parent_path() : folder.parent_path().parent_path();
  const std::string relative = whole.lexically_relative(parent).generic_string();
  const bool inside = !relative.empty() && !relative.starts_with("..") && parent.has_relative_path();
  return inside ? whole.lexically_relative(folder).generic_string() : path;
}

}  // namespace

Json ViewsRequest(const ViewsConfig& config) {
  Json json = {{kVersion, 2}};
  json.update(FieldsToJson(config));
  json.erase("out");
  json.erase("dump");
  if (config.curve == 0) json.erase("curve");  // as before there was one
  if (!config.deterministic) json.erase("deterministic");
  json.erase("keep");
  json.erase("forget");
  for (const char* member : {"threads", "device", "strict"}) json["run"].erase(member);
  for (const char* member : kPaths) json[member] = SeenFrom(json[member].get<std::string>(), config.out);
  return json;
}

std::optional<ViewsConfig> ReadViewsRequest(const Path& folder) {
  const Path file = folder / "request.json";
  if (!std::filesystem::exists(file)) return std::nullopt;
  Json json = ReadJson(file);
  if (!json.is_object()) {
    throw Error({.what = "the request is not a JSON object",
                 .where = file.string(),
                 .next = "run the `genview views` command of this folder again"});
  }
  for (const char* member : kPaths) {
    const std::string path = JsonString(json, member, "", file.string());
    std::error_code code;
    if (!path.empty() && Path(path).is_relative() && std::filesystem::exists(folder / path, code))
      json[member] = (folder / path).lexically_normal().string();
  }
  const bool first_version = JsonInt(json, kVersion, 1, file.string()) < 2;
  json.erase(kVersion);
  ViewsConfig config;
  ReadFields(config, json, {.file = file.string(), .prefix = "", .lines = nullptr});
  if (first_version && config.levels == kUsualLevels) config.levels.clear();
  config.out = folder;
  return config;
}

}  // namespace genview
