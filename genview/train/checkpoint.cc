#include "genview/train/checkpoint.h"

#include <algorithm>

#include "genview/base/error.h"
#include "genview/base/text.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

constexpr std::string_view kPrefix = "step-", kSuffix = ".safetensors";
constexpr int64_t kFormat = 1;  // the newest that is known

// By name, whatever the order the tensors are saved in.
std::string Checksum(const std::map<std::string, Tensor>& tensors) {
  return FingerprintTensors({tensors.begin(), tensors.end()});
}

}  // namespace

std::map<std::string, std::string> CheckpointMetadata(const std::vector<std::pair<std::string, Tensor>>& tensors,
                                                      Json meta) {
  meta["checksum"] = Checksum({tensors.begin(), tensors.end()});
  return {{"genview", meta.dump(-1, ' ', false, Json::error_handler_t::replace)}};
}

std::vector<std::pair<int64_t, Path>> ListCheckpoints(const Path& folder) {
  std::vector<std::pair<int64_t, Path>> found;
  std::error_code code;
  for (std::filesystem::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    const std::string name = it->path().filename().string();
    if (name.size() != kPrefix.size() + 10 + kSuffix.size() || !name.starts_with(kPrefix) || !name.ends_with(kSuffix))
      continue;
    int64_t step = 0;
    if (ParseInt(std::string_view(name).substr(kPrefix.size(), 10), step)) found.emplace_back(step, it->path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

Path SaveCheckpoint(const Path& folder, int64_t step, const std::vector<std::pair<std::string, Tensor>>& tensors,
                    Json meta, int64_t keep) {
  meta["step"] = step;
  const Path path = folder / Format("{}{:010d}{}", kPrefix, step, kSuffix);
  WriteSafetensors(path, tensors, CheckpointMetadata(tensors, std::move(meta)));
  // Newer ones than this are left of a run that was begun again; they would be taken for its latest state.
  std::error_code ignored;
  for (const auto& [other, file] : ListCheckpoints(folder)) {
    if (other > step) std::filesystem::remove(file, ignored);
  }
  KeepNewestCheckpoints(folder, keep);
  return path;
}

void KeepNewestCheckpoints(const Path& folder, int64_t keep) {
  const auto all = ListCheckpoints(folder);
  std::error_code ignored;
  for (size_t i = 0; keep > 0 && i + static_cast<size_t>(keep) < all.size(); ++i)
    std::filesystem::remove(all[i].second, ignored);
}

Checkpoint ReadCheckpoint(const Path& path) {
  Checkpoint checkpoint{path, ReadSafetensors(path), {}, 0};
  const std::string text = checkpoint.weights.Metadata("genview");
  if (text.empty()) {
    throw Error({.what = "the file is not a checkpoint of this program: it has no metadata `genview`",
                 .where = path.string(),
                 .next = "name a file written by `genview pretrain` or `genview run`"});
  }
  checkpoint.meta = ParseJson(text, path.string());
  RefuseNewerFormat(checkpoint.meta, kFormat, path.string());
  checkpoint.step = JsonInt(checkpoint.meta, "step", 0, path.string());
  const std::string wanted = JsonString(checkpoint.meta, "checksum", "", path.string());
  if (wanted != Checksum(checkpoint.weights.tensors())) {
    throw Error({.what = "the checkpoint is damaged: its contents do not match its checksum",
                 .where = path.string(),
                 .next = "remove the file and run the same command again: it goes on from the checkpoint before"});
  }
  return checkpoint;
}

std::optional<Checkpoint> LatestCheckpoint(const Path& folder, std::vector<std::string>* skipped) {
  auto all = ListCheckpoints(folder);
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    try {
      return ReadCheckpoint(it->second);
    } catch (const NewerFormatError&) {
      throw;  // it is whole: passed over, it would be removed by the next one that is saved
    } catch (const Error& error) {
      if (skipped != nullptr) skipped->push_back(Format("{}: {}", it->second.string(), error.text().what));
    }
  }
  return std::nullopt;
}

}  // namespace genview
