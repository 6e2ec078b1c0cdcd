#include "genview/models/weight_files.h"

#include <set>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/tensor/safetensors.h"

namespace genview {

Path FindFolderWeights(const Path& folder, const std::vector<std::string>& names) {
  std::error_code ignored;
  for (const char* ending : {".safetensors", ".safetensors.index.json", ".fp16.safetensors", ".safetensors.index.fp16.json",
                             ".fp16.safetensors.index.json"}) {
    for (const std::string& name : names) {
      const Path path = folder / (name + ending);
      if (std::filesystem::is_regular_file(path, ignored)) return path;
    }
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.path().extension() == ".bin" || entry.path().extension() == ".pth") {
      throw Error({.what = "the folder has only a PyTorch pickle",
                   .where = entry.path().string(),
                   .next = Format("`genview import {} --out {}`", entry.path().string(), (folder / (names[0] + ".safetensors")).string())});
    }
  }
  throw Error({.what = Format("no weights: neither {}.safetensors nor its shards", names[0]),
               .where = folder.string(),
               .next = "give the whole model folder"});
}

WeightMap ReadFolderWeights(const Path& folder, const std::vector<std::string>& names) {
  const Path path = FindFolderWeights(folder, names);
  if (path.extension() != ".json") return ReadSafetensors(path);
  const Json index = ReadJson(path);
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) {
    throw Error({.what = "an index of shards has no `weight_map`", .where = path.string(), .next = "fetch the file again"});
  }
  std::set<std::string> shards;
  for (const auto& [tensor, file] : map->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (name.empty() || name.find('/') != std::string::npos || name == "..") {
      throw Error({.what = Format("tensor `{}` is in a shard of no usable name", tensor), .where = path.string(), .next = "fetch the file again"});
    }
    shards.insert(name);
  }
  WeightMap all(path.string());
  for (const std::string& shard : shards) all.Merge(ReadSafetensors(folder / shard));
  return all;
}

}  // namespace genview
