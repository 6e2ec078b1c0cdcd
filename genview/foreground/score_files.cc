#include "genview/foreground/score_files.h"

#include <algorithm>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/base/text.h"

namespace genview {
namespace {

constexpr uint64_t kLargestSummary = 1'000'000;
constexpr std::string_view kTableBegin = "id\tpath\t";

std::string JsonLine(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace

ScoreJournal::ScoreJournal(const Path& path, const std::string& request, SkippedLog& skipped) {
  std::error_code ignored;
  if (!Read(path, request, skipped)) {
    std::filesystem::remove(path, ignored);
    images_.clear();
    next_ = 0;
  }
  log_.emplace(path);  // cuts a torn last line away
  if (next_ == 0 && images_.empty()) {
    std::filesystem::resize_file(path, 0);
    log_.emplace(path);
    log_->Append(JsonLine({{"request", request}}));
  }
}

// Every line is one this program wrote whole, or the journal is not used.
bool ScoreJournal::Read(const Path& path, const std::string& request, SkippedLog& skipped) {
  if (!std::filesystem::exists(path)) return false;
  const std::vector<std::string> lines = ReadLines(path, /*keep_torn=*/false);
  if (lines.empty()) return false;
  try {
    if (JsonString(ParseJson(lines[0], path.string()), "request", "", path.string()) != request) return false;
    for (size_t i = 1; i < lines.size(); ++i) {
      const Json line = ParseJson(lines[i], path.string());
      const Json& rows = line.at("rows");
      // Rows that were made again, with batches cut elsewhere, take the place of those before.
      const int64_t from = rows.empty() ? INT64_MAX : rows.at(0).at(0).get<int64_t>();
      while (!images_.empty() && images_.back().index >= from) images_.pop_back();
      for (const Json& row : rows) {
        ScoredImage image;
        image.index = row.at(0).get<int64_t>();
        image.tokens = row.at(1).get<int64_t>();
        if (row.size() > 2) image.overlap = row.at(2).get<double>();
        if (row.size() > 3) image.truth = row.at(3).get<double>();
        images_.push_back(image);
      }
      for (const Json& pair : line.at("skipped")) {
        written_[pair.at(0).get<std::string>()] = pair.at(1).get<std::string>();
      }
      next_ = line.at("next").get<int64_t>();
    }
  } catch (const Error&) {
    return false;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
  for (const auto& [id, reason] : written_) skipped.Add(id, reason);
  return true;
}

void ScoreJournal::Append(const std::vector<ScoredImage>& images, int64_t next, const SkippedLog& skipped) {
  Json rows = Json::array(), bad = Json::array();
  for (const ScoredImage& image : images) {
    Json row = {image.index, image.tokens};
    if (image.overlap) row.push_back(*image.overlap);
    if (image.overlap && image.truth) row.push_back(*image.truth);
    rows.push_back(std::move(row));
  }
  for (const auto& [id, reason] : skipped.rows()) {
    if (written_.emplace(id, reason).second) bad.push_back({id, reason});
  }
  log_->Append(JsonLine({{"next", next}, {"rows", rows}, {"skipped", bad}}));
  images_.insert(images_.end(), images.begin(), images.end());
  next_ = next;
}

ScoreFiles::ScoreFiles(const Path& table, std::string request) : table_(table), request_(std::move(request)) {
  if (summary_path() == table_) {
    throw UsageError({.what = "the table cannot be a .json file: its summary takes that name",
                      .where = table_.string(),
                      .next = "give a name such as ratios.tsv"});
  }
}

// A file that is no JSON, or another's, vouches for nothing.
std::optional<Json> ScoreFiles::ReadSummary() const {
  std::error_code code;
  if (!std::filesystem::is_regular_file(summary_path(), code)) return std::nullopt;
  try {
    Json summary = ParseJson(ReadFile(summary_path(), kLargestSummary), summary_path().string());
    if (summary.is_object() && summary.contains("request") && summary.contains("table")) return summary;
  } catch (const Error&) {
  }
  return std::nullopt;
}

void ScoreFiles::RefuseForeignSummary() const {
  RefuseToReplace(summary_path());
  std::error_code code;
  if (!std::filesystem::exists(summary_path(), code) || ReadSummary()) return;
  if (std::filesystem::is_regular_file(table_, code) && MappedFile(table_).text().starts_with(kTableBegin)) return;
  throw UsageError({.what = "the table's summary would replace a file that is not of this program",
                    .where = summary_path().string(),
                    .next = "give the table another name or folder, or remove that file"});
}

Path ScoreFiles::summary_path() const { return Path(table_).replace_extension(".json"); }
Path ScoreFiles::journal_path() const { return HiddenBeside(table_, "journal"); }

Path ScoreFiles::journal_path(int64_t begin, int64_t end) const {
  return Path(Format("{}.share.{}-{}", journal_path().string(), begin, end));
}

std::optional<Json> ScoreFiles::Finished() const {
  std::error_code code;
  if (!std::filesystem::exists(table_, code)) return std::nullopt;
  std::optional<Json> summary = ReadSummary();
  if (!summary || (*summary)["request"] != request_ || (*summary)["table"] != FingerprintFile(table_))
    return std::nullopt;
  return summary;
}

void ScoreFiles::Finish(Json summary) const {
  summary["request"] = request_;
  summary["table"] = FingerprintFile(table_);
  WriteJson(summary_path(), summary);
  std::error_code code;
  const Path folder = table_.has_parent_path() ? table_.parent_path() : Path(".");
  for (const auto& entry : std::filesystem::directory_iterator(folder, code)) {  // the journal and its shares
    if (entry.path().filename().string().starts_with(journal_path().filename().string()))
      std::filesystem::remove(entry.path(), code);
  }
}

void ScoreFiles::ForgetMasks(const std::string& place) const {
  std::optional<Json> summary = ReadSummary();
  if (!summary || summary->value("masks", Json()) != Json(place)) return;
  summary->erase("masks");
  WriteJson(summary_path(), *summary);
}

void WriteOriginalLists(const Path& folder, const std::vector<ForegroundRow>& rows,
                        const std::vector<int64_t>& levels) {
  const auto line = [](const std::string& name, const std::string& value) {
    const std::string path = TsvField(name);
    const char* separator = path.find(' ') == std::string::npos ? " " : "\t";
    return path + separator + value + "\n";
  };
  std::string ratios;
  std::map<int64_t, std::string> by_level;
  for (const int64_t level : levels) by_level[level];
  for (const ForegroundRow& row : rows) {
    std::string ratio = Format("{}", row.ratio);
    if (ratio.find_first_of(".e") == std::string::npos) ratio += ".0";  // as Python prints it
    ratios += line(row.path, ratio);
    by_level[row.noise_level] += line(row.path, Format("{}", row.noise_level));
  }
  WriteFile(folder / "fg_ratios.txt", ratios);
  for (const auto& [level, text] : by_level) WriteFile(folder / Format("fg_ratios_{}.txt", level), text);
}

}  // namespace genview
