#include "genview/views/request.h"

#include "genview/data/source.h"

namespace genview {
namespace {

// 2: levels are those that were given; before, the usual ones stood for none. 3: `images` is seen from the folder, too.
constexpr const char* kVersion = "version";
constexpr const char* kPaths[] = {"generator", "ratios", "noise", "images"};

// The path in the name of a file or of pictures: all of it, but for what is before the pictures of a subset, and
// nothing of pictures that lie nowhere.
std::string PathIn(const std::string& name) {
  std::string path = name.substr(SubsetsEnd(name));
  return path.starts_with("shapes:") ? "" : path;
}

std::string WithPath(const std::string& name, const std::string& path) {
  return name.substr(0, SubsetsEnd(name)) + path;
}

// `keep`: what is elsewhere stays as it was typed, else it is named from the root.
std::string SeenFrom(const std::string& path, const Path& out, bool keep) {
  if (path.empty()) return path;
  std::error_code code;
  const Path folder = std::filesystem::absolute(out, code).lexically_normal();
  const Path whole = std::filesystem::absolute(path, code).lexically_normal();
  const Path parent = folder.has_filename() ? folder.parent_path() : folder.parent_path().parent_path();
  const std::string relative = whole.lexically_relative(parent).generic_string();
  const bool inside = !relative.empty() && !relative.starts_with("..") && parent.has_relative_path();
  if (inside) return whole.lexically_relative(folder).generic_string();
  return keep ? path : whole.generic_string();
}

// Of shards named with braces no file has the name itself.
bool IsThere(const Path& path) {
  std::error_code code;
  const bool pattern = path.filename().string().find('{') != std::string::npos;
  return std::filesystem::exists(pattern ? path.parent_path() : path, code);
}

}  // namespace

Json ViewsRequest(const ViewsConfig& config) {
  Json json = {{kVersion, 3}};
  json.update(FieldsToJson(config));
  json.erase("out");
  json.erase("dump");
  if (config.curve == 0) json.erase("curve");  // as before there was one
  if (!config.deterministic) json.erase("deterministic");
  json.erase("keep");
  json.erase("forget");
  for (const char* member : {"threads", "device", "strict"}) json["run"].erase(member);
  for (const char* member : kPaths) {
    const auto name = json[member].get<std::string>();
    if (const std::string path = PathIn(name); !path.empty())
      json[member] = WithPath(name, SeenFrom(path, config.out, /*keep=*/std::string_view(member) != "images"));
  }
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
  const int64_t version = JsonInt(json, kVersion, 1, file.string());
  for (const char* member : kPaths) {
    const std::string name = JsonString(json, member, "", file.string()), path = PathIn(name);
    if (path.empty() || Path(path).is_absolute() || (version < 3 && std::string_view(member) == "images")) continue;
    if (IsThere(folder / path)) json[member] = WithPath(name, (folder / path).lexically_normal().string());
  }
  json.erase(kVersion);
  ViewsConfig config;
  ReadFields(config, json, {.file = file.string(), .prefix = "", .lines = nullptr});
  if (version < 2 && config.levels == kUsualLevels) config.levels.clear();
  config.out = folder;
  return config;
}

}  // namespace genview
