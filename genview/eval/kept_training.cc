#include "genview/eval/kept_training.h"

#include "genview/tensor/finite.h"

namespace genview {
namespace {

constexpr const char* kKind = "steps";  // those of an earlier version are of whole epochs, and of another kind

}  // namespace

KeptTraining::KeptTraining(Path folder, std::string request, double seconds)
    : folder_(std::move(folder)), request_(std::move(request)), seconds_(seconds) {}

std::optional<Checkpoint> KeptTraining::Latest(bool strict, SkippedLog& skipped) const {
  if (folder_.empty()) return std::nullopt;
  std::optional<Checkpoint> kept = LatestCheckpoint(folder_);
  const std::string where = folder_.string();
  if (!kept || JsonString(kept->meta, "kind", "", where) != kKind ||
      JsonString(kept->meta, "request", "", where) != request_) {
    return std::nullopt;
  }
  SkippedLog before;
  AddSkipped(JsonString(kept->meta, "skipped", "[]", where), before);
  if (strict && before.count() > 0) return std::nullopt;
  for (const auto& [id, reason] : before.rows()) skipped.Add(id, reason);
  return kept;
}

bool KeptTraining::Due() const {
  const std::chrono::duration<double> since = Clock::now() - saved_;
  return !folder_.empty() && since.count() >= seconds_;
}

void KeptTraining::Save(int64_t step, std::vector<std::pair<std::string, Tensor>> tensors, Json meta,
                        const SkippedLog& skipped) {
  if (folder_.empty()) return;
  saved_ = Clock::now();
  for (auto& [name, tensor] : tensors) {
    tensor = tensor.cpu();
    // Of a rate that is too large: what is no number could not be read again, and a killed call begins anew.
    if (at::isFloatingType(tensor.scalar_type()) && !AllFinite(tensor)) return;
  }
  meta["format"] = 1;
  meta["kind"] = kKind;
  meta["request"] = request_;
  meta["skipped"] = SkippedToText(skipped);
  SaveCheckpoint(folder_, step, tensors, std::move(meta), /*keep=*/1);
}

}  // namespace genview
