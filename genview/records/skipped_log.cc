#include <mutex>

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

void SkippedLog::Write(const Path& path) const {
  const auto all = rows();
  if (all.empty()) {
    std::error_code code;
    std::filesystem::remove(path, code);
    return;
  }
  std::string text = "id\treason\n";
  for (const auto& [id, reason] : all) text += Format("{}\t{}\n", TsvField(id), TsvField(reason));
  WriteFile(path, text);
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
