#include "genview/eval/feature_file.h"

#include <algorithm>
#include <cstring>

#include "genview/base/error.h"
#include "genview/base/json.h"
#include "genview/base/text.h"
#include "genview/tensor/safetensors.h"

namespace genview {
namespace {

constexpr uint64_t kMaxHeader = 99'000'000;  // the format allows 100 million bytes

Path JournalOf(const Path& path) { return HiddenBeside(path, "journal"); }
Path PartOf(const Path& path, size_t column) { return HiddenBeside(path, Format("column{}", column)); }

std::string HeaderText(const std::vector<FeatureColumn>& columns, int64_t rows,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<SafetensorsEntry> entries;
  uint64_t offset = 0;
  for (const FeatureColumn& column : columns) {
    SafetensorsEntry entry{.name = column.name, .dtype = "F32", .shape = {rows}, .begin = offset};
    entry.shape.insert(entry.shape.end(), column.row_shape.begin(), column.row_shape.end());
    entry.end = offset += static_cast<uint64_t>(rows * column.row_bytes());
    entries.push_back(entry);
  }
  return SafetensorsHeaderText(entries, metadata);
}

}  // namespace

int64_t FeatureColumn::row_bytes() const {
  int64_t bytes = sizeof(float);
  for (const int64_t extent : row_shape) bytes *= extent;
  return bytes;
}

struct FeatureFile::Parts {
  std::vector<std::unique_ptr<GrowingFile>> columns;
  std::optional<LineLog> journal;
  size_t saved = 0;                            // rows that the journal speaks of
  std::map<std::string, std::string> skipped;  // bad pictures that it speaks of
};

FeatureFile::FeatureFile(Path path, std::string request, std::vector<FeatureColumn> columns, int64_t rows_at_most,
                         const std::map<std::string, std::string>& largest, SkippedLog& skipped)
    : FeatureFile(std::move(path), std::move(request), std::move(columns), rows_at_most, largest, skipped, nullptr) {}

std::unique_ptr<FeatureFile> FeatureFile::OpenUnlessHeld(Path path, std::string request,
                                                         std::vector<FeatureColumn> columns, int64_t rows_at_most,
                                                         SkippedLog& skipped) {
  std::unique_ptr<GrowingFile> first = GrowingFile::OpenUnlessHeld(PartOf(path, 0));
  if (first == nullptr) return nullptr;
  return std::unique_ptr<FeatureFile>(new FeatureFile(std::move(path), std::move(request), std::move(columns),
                                                      rows_at_most, /*largest=*/{}, skipped, std::move(first)));
}

FeatureFile::FeatureFile(Path path, std::string request, std::vector<FeatureColumn> columns, int64_t rows_at_most,
                         const std::map<std::string, std::string>& largest, SkippedLog& skipped,
                         std::unique_ptr<GrowingFile> first)
    : path_(std::move(path)),
      request_(std::move(request)),
      columns_(std::move(columns)),
      parts_(std::make_unique<Parts>()) {
  RefuseToReplace(path_);
  const std::string header = HeaderText(columns_, rows_at_most, largest);
  if (header.size() > kMaxHeader) {
    throw Error({.what = Format("the names of {} pictures are too long for one file", rows_at_most),
                 .where = path_.string(),
                 .next = "give the pictures in several lists, one file each"});
  }
  room_ = 8 + (header.size() + 7) / 8 * 8;
  parts_->columns.push_back(first ? std::move(first) : std::make_unique<GrowingFile>(PartOf(path_, 0)));
  for (size_t i = 1; i < columns_.size(); ++i)
    parts_->columns.push_back(std::make_unique<GrowingFile>(PartOf(path_, i)));
  if (!Read()) {
    indices_.clear();
    next_ = 0;
    parts_->skipped.clear();
    std::error_code ignored;
    std::filesystem::remove(JournalOf(path_), ignored);
  }
  for (const auto& [id, reason] : parts_->skipped) skipped.Add(id, reason);
  parts_->journal.emplace(JournalOf(path_));
  if (next_ == 0) parts_->journal->Append(Json{{"request", request_}, {"room", room_}}.dump());
  parts_->saved = indices_.size();
  DropFrom(INT64_MAX);  // what was written after the last line
}

FeatureFile::~FeatureFile() = default;

// True when an earlier run of the same request has left a journal, and the columns hold what it says.
bool FeatureFile::Read() {
  const std::string where = JournalOf(path_).string();
  if (!std::filesystem::exists(where)) return false;
  const std::vector<std::string> lines = ReadLines(where, /*keep_torn=*/false);
  try {
    if (lines.size() < 2) return false;
    const Json first = ParseJson(lines[0], where);
    if (first.at("request") != request_ || first.at("room") != room_) return false;
    for (size_t i = 1; i < lines.size(); ++i) {
      const Json line = ParseJson(lines[i], where);
      indices_.resize(line.at("keep").get<size_t>());  // rows before it that were not made again
      for (const Json& index : line.at("indices")) indices_.push_back(index.get<int64_t>());
      for (const Json& pair : line.at("skipped"))
        parts_->skipped[pair.at(0).get<std::string>()] = pair.at(1).get<std::string>();
      next_ = line.at("next").get<int64_t>();
    }
  } catch (const Error&) {
    return false;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (parts_->columns[i]->size() < PartSize(i)) return false;
  }
  return true;
}

uint64_t FeatureFile::PartSize(size_t column) const {
  return (column == 0 ? room_ : 0) + indices_.size() * static_cast<uint64_t>(columns_[column].row_bytes());
}

void FeatureFile::DropFrom(int64_t index) {
  const auto kept = std::lower_bound(indices_.begin(), indices_.end(), index);
  indices_.erase(kept, indices_.end());
  next_ = std::min(next_, index);
  parts_->saved = std::min(parts_->saved, indices_.size());
  for (size_t i = 0; i < columns_.size(); ++i) parts_->columns[i]->Resize(PartSize(i));
}

void FeatureFile::CopyTo(size_t column, const Tensor& rows) const {
  if (indices_.empty()) return;
  const uint64_t room = column == 0 ? room_ : 0, bytes = PartSize(column) - room;
  GENVIEW_CHECK(rows.is_contiguous() && rows.nbytes() == bytes, "room for all rows and no more");
  const MappedFile part(PartOf(path_, column));
  std::memcpy(rows.data_ptr<float>(), part.data() + room, bytes);
}

void FeatureFile::Append(size_t column, const Tensor& rows) {
  const Tensor data = rows.to(at::kCPU, at::kFloat).contiguous();
  parts_->columns[column]->Append({static_cast<const char*>(data.const_data_ptr()), data.nbytes()});
}

void FeatureFile::EndBatch(const std::vector<int64_t>& indices, int64_t next) {
  indices_.insert(indices_.end(), indices.begin(), indices.end());
  next_ = next;
}

void FeatureFile::Save(const SkippedLog& skipped) {
  for (const auto& column : parts_->columns) column->Sync();
  Json bad = Json::array();
  for (const auto& [id, reason] : skipped.rows()) {
    if (parts_->skipped.emplace(id, reason).second) bad.push_back({id, reason});
  }
  const std::vector<int64_t> added(indices_.begin() + static_cast<int64_t>(parts_->saved), indices_.end());
  const Json line = {{"keep", parts_->saved}, {"indices", added}, {"next", next_}, {"skipped", bad}};
  parts_->journal->Append(line.dump(-1, ' ', false, Json::error_handler_t::replace));
  parts_->saved = indices_.size();
}

void FeatureFile::Take(const FeatureFile& part) {
  for (size_t i = 0; i < columns_.size(); ++i) {
    const MappedFile column(PartOf(part.path_, i));
    const uint64_t room = i == 0 ? part.room_ : 0;
    parts_->columns[i]->Append(column.text().substr(room, part.PartSize(i) - room));
  }
  EndBatch(part.indices_, part.next_);
}

void FeatureFile::Finish(const std::map<std::string, std::string>& metadata) {
  std::string header = HeaderText(columns_, static_cast<int64_t>(indices_.size()), metadata);
  GENVIEW_CHECK(header.size() + 8 <= room_, "the header has outgrown its room");
  header.resize(room_ - 8, ' ');
  const uint64_t length = header.size();
  GrowingFile& whole = *parts_->columns[0];
  whole.WriteAt(0, {reinterpret_cast<const char*>(&length), 8});
  whole.WriteAt(8, header);
  for (size_t i = 1; i < columns_.size(); ++i) {
    const MappedFile column(PartOf(path_, i));
    whole.Append(column.text());
  }
  whole.MoveTo(path_);
  RemoveParts(path_);
  RemoveShares(path_);
}

void FeatureFile::RemoveParts(const Path& path) {
  std::error_code ignored;
  std::filesystem::remove(JournalOf(path), ignored);
  for (size_t i = 0; i < 2; ++i) std::filesystem::remove(PartOf(path, i), ignored);
}

Path FeatureFile::PartOfShare(const Path& path, int64_t begin, int64_t end) {
  return path.parent_path() / Format(".{}.share.{}-{}", path.filename().string(), begin, end);
}

void FeatureFile::RemoveShares(const Path& path) {
  std::error_code code;
  const Path folder = path.has_parent_path() ? path.parent_path() : Path(".");
  const std::string beginning =
      Format("..{}.share.", path.filename().string());  // journals and columns lie beside a share's name
  for (const auto& entry : std::filesystem::directory_iterator(folder, code)) {
    if (entry.path().filename().string().starts_with(beginning)) std::filesystem::remove(entry.path(), code);
  }
}

std::optional<int64_t> FinishedFeatures(const Path& path, const std::string& request) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  try {
    const MappedFile mapped(path);
    const SafetensorsHeader header = ParseSafetensorsHeader(mapped.text(), path.string());
    const auto origin = header.metadata.find("genview");
    if (origin == header.metadata.end()) return std::nullopt;
    const Json json = ParseJson(origin->second, path.string());
    if (JsonString(json, "request", "", path.string()) != request) return std::nullopt;
    FeatureFile::RemoveParts(path);
    FeatureFile::RemoveShares(path);  // a kill may have come between the last two steps
    return JsonInt(json, "images", 0, path.string());
  } catch (const Error&) {
    return std::nullopt;  // some other file: it is written anew
  }
}

}  // namespace genview
