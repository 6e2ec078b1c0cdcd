#include <mutex>

#include "genview/base/folder_lock.h"
#include "genview/base/text.h"
#include "genview/records/records.h"

namespace genview {

struct SkippedLog::Shared {
  std::mutex mutex;
  std::map<std::string, std::string> rows;
};

SkippedLog::SkippedLog() : shared_(std::make_shared<Shared>()) {}

void SkippedLog::Add(const std::string& id, const std::string& reason) {
  const std::lock_guard lock(shared_->mutex);
  const auto [row, is_new] = shared_->rows.emplace(id, reason);
  // Of several reasons the first in the alphabet, so that the file does not depend on which thread came first.
  if (!is_new && reason < row->second) row->second = reason;
}

int64_t SkippedLog::count() const {
  const std::lock_guard lock(shared_->mutex);
  return static_cast<int64_t>(shared_->rows.size());
}

std::vector<std::pair<std::string, std::string>> SkippedLog::rows() const {
  const std::lock_guard lock(shared_->mutex);
  return {shared_->rows.begin(), shared_->rows.end()};
}

namespace {

constexpr std::string_view kHeader = "id\treason";

void WriteRows(const Path& path, const std::map<std::string, std::string>& rows, bool even_empty) {
  if (rows.empty() && !even_empty) {
    std::error_code code;
    std::filesystem::remove(path, code);
    return;
  }
  std::string text = Format("{}\n", kHeader);
  for (const auto& [id, reason] : rows) text += Format("{}\t{}\n", id, reason);
  WriteFile(path, text);
}

}  // namespace

void SkippedLog::Write(const Path& path, bool even_empty) const {
  std::map<std::string, std::string> fields;
  for (const auto& [id, reason] : rows()) fields.emplace(TsvField(id), TsvField(reason));
  WriteRows(path, fields, even_empty);
}

void SkippedLog::WriteShared(const Path& path, const std::vector<std::string>& looked_at) const {
  std::map<std::string, std::string> fields;
  std::error_code code;
  if (count() == 0 && !std::filesystem::exists(path, code)) return;
  const FileTurn turn(path);  // another command may be at the same
  for (const std::string& line : std::filesystem::exists(path, code) ? ReadLines(path) : std::vector<std::string>{}) {
    const size_t tab = line.find('\t');
    if (line != kHeader && tab != std::string::npos) fields.emplace(line.substr(0, tab), line.substr(tab + 1));
  }
  for (const std::string& id : looked_at) fields.erase(TsvField(id));
  for (const auto& [id, reason] : rows()) fields.insert_or_assign(TsvField(id), TsvField(reason));
  WriteRows(path, fields, /*even_empty=*/false);
}

std::string SkippedToText(const SkippedLog& log) {
  Json rows = Json::array();
  for (const auto& [id, reason] : log.rows()) rows.push_back({id, reason});
  return rows.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void AddSkipped(const std::string& text, SkippedLog& log) {
  const Json rows = ParseJson(text, "pictures left out by another process");
  for (const Json& row : rows) log.Add(row.at(0).get<std::string>(), row.at(1).get<std::string>());
}

}  // namespace genview
