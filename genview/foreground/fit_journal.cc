#include "genview/foreground/fit_journal.h"

#include <algorithm>
#include <optional>

#include "genview/base/error.h"
#include "genview/base/json.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

constexpr const char *kScores = "scores", *kMember = "genview";
constexpr double kShareOfTime = 0.05;  // that saving may take

// Nothing where the file is not of `request`, or says what cannot be.
std::optional<FitState> StateIn(const WeightMap& file, const std::string& request, const FitState& empty,
                                int64_t sample, at::Device device, SkippedLog& skipped) {
  const std::string& where = file.where();
  const Json meta = ParseJson(file.Metadata(kMember), where);
  if (JsonString(meta, "request", "", where) != request) return std::nullopt;
  FitState state = empty;
  state.summed = JsonInt(meta, "summed", -1, where);
  state.scored = JsonInt(meta, "scored", -1, where);
  const auto counts = [&](int64_t pictures) { return pictures >= 0 && pictures <= sample; };
  if (!counts(state.summed) || !counts(state.scored)) return std::nullopt;
  if (!state.statistics.Load(file, JsonInt(meta, "images", -1, where), device)) return std::nullopt;
  if (file.Has(kScores)) {
    const Tensor& scores = file.At(kScores);
    const int64_t grid = empty.statistics.grid();
    if (scores.dim() != 2 || scores.size(0) > state.scored || scores.size(1) != grid * grid ||
        scores.scalar_type() != at::kFloat)
      return std::nullopt;
    state.scores.push_back(scores.clone());
  }
  AddSkipped(JsonString(meta, "skipped", "", where), skipped);
  return state;
}

}  // namespace

Tensor FitState::Scores() const { return scores.empty() ? at::empty({0, 0}) : at::cat(scores); }

FitJournal::FitJournal(const Path& model, std::string request, double seconds)
    : path_(Place(model)), request_(std::move(request)), least_(seconds), between_(seconds) {}

Path FitJournal::Place(const Path& model) { return HiddenBeside(model, "journal"); }

void FitJournal::Read(FitState& state, SkippedLog& skipped, int64_t sample, at::Device device) const {
  std::error_code code;
  if (!std::filesystem::is_regular_file(path_, code)) return;
  try {
    SkippedLog read;
    std::optional<FitState> found = StateIn(ReadSafetensors(path_), request_, state, sample, device, read);
    if (!found) return;
    state = std::move(*found);
    for (const auto& [id, reason] : read.rows()) skipped.Add(id, reason);
  } catch (const Error&) {  // damage
  } catch (const Json::exception&) {
  }
}

void FitJournal::Save(const FitState& state, const SkippedLog& skipped) {
  const Clock::time_point begin = Clock::now();
  std::vector<std::pair<std::string, Tensor>> tensors = state.statistics.State();
  if (!state.scores.empty()) tensors.emplace_back(kScores, state.Scores());
  const Json meta = {{"request", request_},
                     {"images", state.statistics.images()},
                     {"summed", state.summed},
                     {"scored", state.scored},
                     {"skipped", SkippedToText(skipped)}};
  WriteSafetensors(path_, tensors, {{kMember, meta.dump()}});
  saved_ = Clock::now();
  between_ = std::max(least_, std::chrono::duration<double>((saved_ - begin) / kShareOfTime));
}

void FitJournal::SaveSometimes(const FitState& state, const SkippedLog& skipped) {
  if (Clock::now() - saved_ >= between_) Save(state, skipped);
}

void FitJournal::Remove() const {
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

}  // namespace genview
