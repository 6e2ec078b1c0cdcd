#include "genview/models/weight_files.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <functional>
#include <set>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/tensor/torch_file.h"

namespace genview {
namespace {

namespace fs = std::filesystem;

// What PyTorch's own files of a safetensors name are called.
std::string TorchNameOf(const std::string& name) {
  if (name == "open_clip_model") return "open_clip_pytorch_model";
  return name == "model" ? "pytorch_model" : name;
}

bool IsTorchFile(const Path& path) {
  const std::string ending = path.extension().string();
  return ending == ".bin" || ending == ".pt" || ending == ".pth" || ending == ".ckpt";
}

// The only file of the folder that `fits`, if there is just one.
Path OnlyFile(const Path& folder, const std::function<bool(const Path&)>& fits) {
  std::error_code code;
  std::vector<Path> found;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    if (fits(it->path()) && it->is_regular_file(code)) found.push_back(it->path());
  }
  return found.size() == 1 ? found[0] : Path();
}

// The only index of shards with another word in its name: diffusers' NAME.safetensors.index.bf16.json, before that
// NAME.safetensors.fp16.index.json, transformers' NAME.bf16.safetensors.index.json.
Path OnlyIndex(const Path& folder, const std::string& beginning, const char* kind) {
  return OnlyFile(folder, [&](const Path& path) {
    const std::string name = path.filename().string();
    return name.starts_with(beginning + ".") && name.ends_with(".json") && name.find(kind) != std::string::npos &&
           name.find(".index.") != std::string::npos;
  });
}

// Training programs wrap names: {"state_dict": {"module.visual...": ...}}.
WeightMap Unwrapped(WeightMap weights) {
  if (const WeightMap inner = weights.WithPrefixRemoved("state_dict."); !inner.empty())
    weights = inner;  // beside it: the optimiser's
  const auto& tensors = weights.tensors();
  const bool all = !tensors.empty() && std::all_of(tensors.begin(), tensors.end(),
                                                   [](const auto& pair) { return pair.first.starts_with("module."); });
  return all ? weights.WithPrefixRemoved("module.") : weights;
}

}  // namespace

Path FindFolderWeights(const Path& folder, const std::vector<std::string>& names) {
  std::error_code ignored;
  for (const char* ending : {".safetensors", ".safetensors.index.json", ".fp16.safetensors",
                             ".safetensors.index.fp16.json", ".fp16.safetensors.index.json"}) {
    for (const std::string& name : names) {
      const Path path = folder / (name + ending);
      if (fs::is_regular_file(path, ignored)) return path;
    }
  }
  for (const std::string& name : names) {
    if (const Path only = OnlyIndex(folder, name, ".safetensors."); !only.empty()) return only;
  }
  if (const Path only = OnlyFile(folder, [](const Path& path) { return path.extension() == ".safetensors"; });
      !only.empty())
    return only;
  for (const char* ending : {".bin", ".bin.index.json", ".fp16.bin", ".pt"}) {
    for (const std::string& name : names) {
      const Path path = folder / (TorchNameOf(name) + ending);
      if (fs::is_regular_file(path, ignored)) return path;
    }
  }
  for (const std::string& name : names) {
    if (const Path only = OnlyIndex(folder, TorchNameOf(name), ".bin."); !only.empty()) return only;
  }
  if (const Path only = OnlyFile(folder, IsTorchFile); !only.empty()) return only;
  throw Error(
      {.what = Format("no weights: neither {}.safetensors nor its shards, nor {}.bin", names[0], TorchNameOf(names[0])),
       .where = folder.string(),
       .next = "give the whole model folder"});
}

std::vector<Path> FolderWeightFiles(const Path& folder, const std::vector<std::string>& names) {
  const Path path = FindFolderWeights(folder, names);
  if (path.extension() != ".json") return {path};
  const Json index = ReadJson(path);
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) {
    throw Error(
        {.what = "an index of shards has no `weight_map`", .where = path.string(), .next = "fetch the file again"});
  }
  std::set<std::string> shards;
  for (const auto& [tensor, file] : map->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (name.empty() || name.find('/') != std::string::npos || name == "..") {
      throw Error({.what = Format("tensor `{}` is in a shard of no usable name", tensor),
                   .where = path.string(),
                   .next = "fetch the file again"});
    }
    shards.insert(name);
  }
  std::vector<Path> files;
  for (const std::string& shard : shards) files.push_back(folder / shard);
  return files;
}

WeightMap ReadFolderWeights(const Path& folder, const std::vector<std::string>& names) {
  const std::vector<Path> files = FolderWeightFiles(folder, names);
  if (files.size() == 1) return Unwrapped(ReadWeightsFile(files[0]));
  WeightMap all(FindFolderWeights(folder, names).string());
  for (const Path& file : files) all.Merge(ReadWeightsFile(file));
  return Unwrapped(all);
}

WeightMap WithPresentNames(const WeightMap& weights, WeightReader& reader) {
  constexpr std::array<std::pair<const char*, const char*>, 4> kRenamed{
      {{".query.", ".to_q."}, {".key.", ".to_k."}, {".value.", ".to_v."}, {".proj_attn.", ".to_out.0."}}};
  constexpr std::string_view kLayer = ".attentions.";
  WeightMap result = weights;
  for (const auto& [name, tensor] : weights.tensors()) {
    size_t at = name.find(kLayer);
    if (at == std::string::npos) continue;
    for (at += kLayer.size(); at < name.size() && std::isdigit(static_cast<unsigned char>(name[at])) != 0;) ++at;
    for (const auto& [old_part, new_part] : kRenamed) {
      if (!std::string_view(name).substr(at).starts_with(old_part)) continue;
      std::string renamed = name;
      renamed.replace(at, std::string_view(old_part).size(), new_part);
      result.Add(renamed, tensor.dim() == 4 ? tensor.flatten(1) : tensor);
      reader.Ignore(name);
    }
  }
  return result;
}

}  // namespace genview
