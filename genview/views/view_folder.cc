#include "genview/views/view_folder.h"

#include <set>
#include <unordered_map>

#include "genview/base/hash.h"
#include "genview/base/text.h"

namespace genview {
namespace {

namespace fs = std::filesystem;

std::string WithoutEnding(const std::string& id) {
  const size_t dot = id.rfind('.'), slash = id.rfind('/');
  const bool has = dot != std::string::npos && dot > 0 && (slash == std::string::npos || dot > slash + 1);
  return has ? id.substr(0, dot) : id;
}

std::string Named(const std::string& stem, int64_t k, const std::string& ending) {
  return k == 0 ? stem + ending : Format("{}_{}{}", stem, k, ending);
}

bool Agrees(const ViewRow& a, const ViewRow& b) {
  return a.file == b.file && a.noise_level == b.noise_level && a.seed == b.seed && a.steps == b.steps && a.guidance == b.guidance &&
         a.generator == b.generator && a.scheduler == b.scheduler && a.prompt == b.prompt;
}

std::string Lines(const std::vector<ViewRow>& rows, const std::vector<bool>& chosen) {
  std::string text;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (chosen[i]) text += ViewRowToJson(rows[i]).dump() + "\n";
  }
  return text;
}

}  // namespace

std::string ViewEnding(ViewFormat format) { return format == ViewFormat::kPng ? ".png" : format == ViewFormat::kJpeg ? ".jpg" : ".webp"; }

std::vector<std::string> ViewFileNames(const ImageSource& source, int64_t per_image, const std::string& ending) {
  std::vector<std::string> names;
  std::unordered_map<std::string, int64_t> uses;
  for (int64_t i = 0; i < source.size(); ++i) {
    for (int64_t k = 0; k < per_image; ++k) {
      names.push_back(Named(WithoutEnding(source.item(i).id), k, ending));
      ++uses[names.back()];
    }
  }
  std::set<std::string> taken;
  for (size_t view = 0; view < names.size(); ++view) {
    const std::string& id = source.item(static_cast<int64_t>(view) / per_image).id;
    const int64_t k = static_cast<int64_t>(view) % per_image;
    if (uses[names[view]] > 1) names[view] = Named(id, k, ending);
    if (!taken.insert(names[view]).second) {
      throw Error({.what = Format("two views would be written to {}", names[view]), .where = id, .next = "rename one of the pictures"});
    }
  }
  return names;
}

ViewFolder::ViewFolder(const Path& folder, const Json& settings, std::vector<ViewRow> wanted, bool redo)
    : folder_(folder), rows_(std::move(wanted)), done_(rows_.size(), false) {
  std::set<Path> folders{folder_};
  for (const ViewRow& row : rows_) folders.insert((folder_ / row.file).parent_path());
  for (const Path& each : folders) {
    if (fs::is_directory(each)) SweepPartFiles(each);
  }
  // The old rows go before the new settings come: whatever happens between, no row stands under settings it was not made with.
  const Path file = folder_ / "settings.json", manifest = folder_ / "manifest.jsonl", lost = folder_ / "lost.jsonl";
  if (!fs::exists(file) || ReadFile(file) != settings.dump(2) + "\n") {
    std::error_code code;
    fs::remove(manifest, code);
    fs::remove(lost, code);
    WriteFile(file, settings.dump(2) + "\n");
  }
  DropForeignRows(redo);
  log_ = std::make_unique<LineLog>(manifest);
}

void ViewFolder::DropForeignRows(bool redo) {
  const Path manifest = folder_ / "manifest.jsonl", lost = folder_ / "lost.jsonl";
  std::unordered_map<std::string, size_t> views;
  for (size_t i = 0; i < rows_.size(); ++i) views.emplace(Format("{}\t{}", rows_[i].index, rows_[i].id), i);
  // Takes the rows of a table that `fits` finds good; true when it left any.
  const auto take = [&](const Path& table, auto&& fits) {
    bool foreign = false;
    for (const ViewRow& row : fs::exists(table) ? ReadViewTable(table) : std::vector<ViewRow>{}) {
      const auto found = views.find(Format("{}\t{}", row.index, row.id));
      const bool good = !redo && found != views.end() && Agrees(row, rows_[found->second]) && fits(row, found->second);
      foreign = foreign || !good;
      if (good) rows_[found->second] = row;
    }
    return foreign;
  };
  const bool foreign_row = take(manifest, [&](const ViewRow& row, size_t view) {
    std::error_code code;
    const uint64_t size = fs::file_size(folder_ / row.file, code);
    if (code || size == 0 || (row.bytes != 0 && row.bytes != size)) return false;
    done_[view] = true;
    ++count_;
    return true;
  });
  const bool foreign_lost = take(lost, [&](const ViewRow& row, size_t view) { return !done_[view] && !row.fault.empty(); });
  if (foreign_row) WriteFile(manifest, Lines(rows_, done_));
  if (foreign_lost) WriteLost();
}

void ViewFolder::WriteLost() const {
  std::vector<bool> lost;
  for (const ViewRow& row : rows_) lost.push_back(!row.fault.empty());
  const std::string text = Lines(rows_, lost);
  const Path file = folder_ / "lost.jsonl";
  std::error_code code;
  if (text.empty()) fs::remove(file, code);
  else if (!fs::exists(file) || ReadFile(file, UINT64_MAX) != text) WriteFile(file, text);
}

void ViewFolder::WritePicture(int64_t view, std::string_view bytes) {
  ViewRow& row = rows_[static_cast<size_t>(view)];
  WriteFile(folder_ / row.file, bytes);
  row.bytes = bytes.size();
  row.hash = Fingerprint(bytes);
}

void ViewFolder::AddRow(int64_t view, bool retried) {
  const auto i = static_cast<size_t>(view);
  rows_[i].retried = retried ? 1 : 0;
  rows_[i].fault.clear();
  done_[i] = true;
  ++count_;
  log_->Append(ViewRowToJson(rows_[i]).dump());
}

void ViewFolder::AddLost(int64_t view, const std::string& fault) {
  const auto i = static_cast<size_t>(view);
  rows_[i].fault = fault;
  if (lost_log_ == nullptr) lost_log_ = std::make_unique<LineLog>(folder_ / "lost.jsonl");
  lost_log_->Append(ViewRowToJson(rows_[i]).dump());
}

void ViewFolder::Finish() {
  log_->Sync();
  log_.reset();
  lost_log_.reset();
  const std::string text = Lines(rows_, done_);
  const Path manifest = folder_ / "manifest.jsonl";
  if (!fs::exists(manifest) || ReadFile(manifest, UINT64_MAX) != text) WriteFile(manifest, text);
  WriteLost();
}

}  // namespace genview
