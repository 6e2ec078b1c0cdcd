#include "genview/views/view_folder.h"

#include <algorithm>
#include <set>

#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/generated_views.h"
#include "genview/data/tar_writer.h"

namespace genview {
namespace {

namespace fs = std::filesystem;

std::string WithoutEnding(const std::string& id) {
  const size_t dot = id.rfind('.'), slash = id.rfind('/');
  const bool has = dot != std::string::npos && dot > 0 && (slash == std::string::npos || dot > slash + 1);
  return has ? id.substr(0, dot) : id;
}

// A digest in place of a file name that would be longer than file systems allow.
std::string Named(const std::string& stem, int64_t k, const std::string& ending) {
  constexpr size_t kLongest = 255;
  const std::string behind = k == 0 ? ending : Format("_{}{}", k, ending);
  const size_t file = stem.rfind('/') + 1;  // npos + 1 is 0
  if (stem.size() - file + behind.size() <= kLongest) return stem + behind;
  return stem.substr(0, file) + Fingerprint(stem) + behind;
}

bool Agrees(const ViewRow& a, const ViewRow& b) {
  return a.file == b.file && a.noise_level == b.noise_level && a.seed == b.seed && a.steps == b.steps &&
         a.guidance == b.guidance && a.generator == b.generator && a.scheduler == b.scheduler && a.prompt == b.prompt;
}

std::string Lines(const std::vector<ViewRow>& rows, const std::vector<char>& chosen) {
  std::string text;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (chosen[i] != 0) text += ViewRowToJson(rows[i]).dump() + "\n";
  }
  return text;
}

}  // namespace

std::string ViewEnding(ViewFormat format) {
  return format == ViewFormat::kPng ? ".png" : format == ViewFormat::kJpeg ? ".jpg" : ".webp";
}

std::vector<std::string> ViewFileNames(const ImageSource& source, int64_t per_image, const std::string& ending) {
  std::vector<std::string> names;
  std::unordered_map<std::string, int64_t> uses;
  for (int64_t i = 0; i < source.size(); ++i) {
    for (int64_t k = 0; k < per_image; ++k) {
      names.push_back(Named(WithoutEnding(source.item(i).id), k, ending));
      ++uses[names.back()];
    }
  }
  std::set<std::string> taken = FoldersOf(IdsOf(source));
  for (size_t view = 0; view < names.size(); ++view) {
    const std::string& id = source.item(static_cast<int64_t>(view) / per_image).id;
    const int64_t k = static_cast<int64_t>(view) % per_image;
    if (uses[names[view]] > 1 || taken.contains(names[view])) names[view] = Named(id, k, ending);
    while (!taken.insert(names[view]).second) names[view] += ending;
  }
  return names;
}

std::string ShardName(int64_t shard) { return Format("views-{:04}.tar", shard); }

bool IsShardName(const std::string& file) {
  constexpr std::string_view kBegin = "views-", kEnd = ".tar";
  uint64_t number = 0;
  return file.starts_with(kBegin) && file.ends_with(kEnd) && file.size() > kBegin.size() + kEnd.size() &&
         ParseUint(std::string_view(file).substr(kBegin.size(), file.size() - kBegin.size() - kEnd.size()), number);
}

bool LooksLikeView(const Path& file) {
  const std::string ending = Lower(file.extension().string());
  return ending == ".png" || ending == ".jpg" || ending == ".webp" || IsShardName(file.filename().string());
}

bool IsOfAnotherPicture(const ImageSource& source, int64_t i, const Path& folder, const ViewRow& row) {
  if (row.picture.empty()) return false;
  const auto changed = source.ChangedAt(i), made = FileWrittenAt(folder / (row.shard.empty() ? row.file : row.shard));
  if (changed && made && *changed < *made) return false;
  const Outcome<std::string> bytes = source.ReadBytes(i);
  return bytes && Fingerprint(*bytes) != row.picture;
}

static std::string PlaceKey(const ViewRow& row) { return Format("{}\t{}", row.index, row.id); }

ViewFolder::ViewFolder(const Path& folder, std::vector<ViewRow> wanted, int64_t rank, int64_t per_shard)
    : folder_(folder),
      rows_(std::move(wanted)),
      negative_prompt_(rows_.empty() ? "" : rows_[0].negative_prompt),
      done_(rows_.size(), 0),
      rank_(rank),
      per_shard_(per_shard) {
  for (size_t i = 0; i < rows_.size(); ++i) places_.emplace(PlaceKey(rows_[i]), i);
  if (rank == 0) return;
  TakeRows(TablesOf(0), /*redo=*/false);
  log_ = std::make_unique<LineLog>(TablesOf(rank_).manifest);
}

// Shards from number `first` on.
static void RemoveShards(const Path& folder, int64_t first) {
  std::error_code code;
  std::vector<Path> shards;
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    const std::string name = entry.path().filename().string();
    if (IsShardName(name) && (first == 0 || name.size() > ShardName(first).size() || name >= ShardName(first)))
      shards.push_back(entry.path());
  }
  for (const Path& shard : shards) fs::remove(shard, code);
}

ViewFolder::ViewFolder(const Path& folder, const Json& settings, std::vector<ViewRow> wanted, bool redo,
                       int64_t per_shard, bool forget)
    : ViewFolder(folder, std::move(wanted), 0, per_shard) {
  const Path file = folder_ / "settings.json";
  std::vector<Path> files{file};
  for (const ViewRow& row : rows_) files.push_back(folder_ / row.file);
  SweepPartFilesBeside(files);
  const bool ours = fs::exists(file) || fs::exists(folder_ / "request.json") || fs::exists(TablesOf(0).manifest);
  if (!ours) RefuseForeignFiles();
  const std::vector<ViewRow> there = RowsThere();
  if (!forget) RefuseToForget(there);
  if (ours) RemoveUnwanted(there);
  // The old rows go before the new settings come: whatever happens between, no row stands under settings it was not
  // made with.
  std::vector<Tables> others = TablesOfOthers();
  if (!fs::exists(file) || ReadFile(file) != settings.dump(2) + "\n") {
    std::error_code code;
    others.push_back(TablesOf(0));
    for (const Tables& tables : others) fs::remove(tables.manifest, code), fs::remove(tables.lost, code);
    others.clear();
    if (ours) RemoveShards(folder_, 0);
    WriteFile(file, settings.dump(2) + "\n");
  }
  bool foreign = TakeRows(TablesOf(0), redo);
  for (const Tables& tables : others) foreign = TakeRows(tables, redo) || foreign;
  if (foreign || !others.empty()) WriteTables();
  std::error_code code;
  for (const Tables& tables : others) fs::remove(tables.manifest, code), fs::remove(tables.lost, code);
  log_ = std::make_unique<LineLog>(TablesOf(0).manifest);
  replaced_ = std::max<int64_t>(0, std::ssize(there) - count_);
}

// Files that no view asked for will have. Before their rows, which name them: a kill in between leaves none without
// one.
void ViewFolder::RemoveUnwanted(const std::vector<ViewRow>& there) const {
  std::set<std::string> names;
  for (const ViewRow& row : rows_) names.insert(row.file);
  std::error_code code;
  for (const ViewRow& row : there) {
    if (row.shard.empty() && !names.contains(row.file)) fs::remove(folder_ / row.file, code);
  }
  if (per_shard_ > 0) RemoveShards(folder_, (std::ssize(rows_) + per_shard_ - 1) / per_shard_);
}

// Of all views that are there, asked for or not.
std::vector<ViewRow> ViewFolder::RowsThere() const {
  std::unordered_map<std::string, ViewRow> rows;
  std::vector<Tables> all = TablesOfOthers();
  all.insert(all.begin(), TablesOf(0));
  for (const Tables& tables : all) {
    for (ViewRow& row : fs::exists(tables.manifest) ? ReadViewTable(tables.manifest) : std::vector<ViewRow>{})
      rows.insert_or_assign(PlaceKey(row), std::move(row));
  }
  std::vector<ViewRow> result;
  for (auto& [key, row] : rows) result.push_back(std::move(row));
  return result;
}

void ViewFolder::RefuseToForget(const std::vector<ViewRow>& there) const {
  const auto unasked =
      std::count_if(there.begin(), there.end(), [&](const ViewRow& row) { return !places_.contains(PlaceKey(row)); });
  if (unasked == 0) return;
  throw UsageError(
      {.what = Format("the folder holds {} views that are not asked for now and would be forgotten", unasked),
       .where = TablesOf(0).manifest.string(),
       .next = "ask for them, too, give another --out, or --forget to drop them"});
}

// A folder that holds no views so far may hold somebody's pictures: they would be overwritten, or taken for views.
void ViewFolder::RefuseForeignFiles() const {
  std::error_code code, unknown;
  for (fs::recursive_directory_iterator it(folder_, code), end; !code && it != end; it.increment(code)) {
    if (!LooksLikeView(it->path()) || !it->is_regular_file(unknown)) continue;
    throw UsageError({.what = "the folder holds a picture that is no view of this program",
                      .where = it->path().string(),
                      .next = "give an --out of its own"});
  }
}

ViewFolder::Tables ViewFolder::TablesOf(int64_t rank) const {
  if (rank == 0) return {folder_ / "manifest.jsonl", folder_ / "lost.jsonl"};
  return {folder_ / Format(".manifest.{}.jsonl", rank), folder_ / Format(".lost.{}.jsonl", rank)};
}

std::vector<ViewFolder::Tables> ViewFolder::TablesOfOthers() const {
  std::set<int64_t> ranks;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(folder_, code)) {
    const auto parts = Split(entry.path().filename().string(), '.');  // "", manifest, RANK, jsonl
    int64_t rank = 0;
    if (parts.size() == 4 && parts[0].empty() && (parts[1] == "manifest" || parts[1] == "lost") &&
        ParseInt(parts[2], rank) && rank > 0)
      ranks.insert(rank);
  }
  std::vector<Tables> tables;
  for (const int64_t rank : ranks) tables.push_back(TablesOf(rank));
  return tables;
}

bool ViewFolder::TakeRows(const Tables& tables, bool redo) {
  bool foreign = false;
  const auto take = [&](const Path& table, auto&& fits) {
    for (ViewRow& row : fs::exists(table) ? ReadViewTable(table) : std::vector<ViewRow>{}) {
      const auto found = places_.find(PlaceKey(row));
      const bool good =
          !redo && found != places_.end() && Agrees(row, rows_[found->second]) && fits(row, found->second);
      foreign = foreign || !good;
      if (good) rows_[found->second] = std::move(row);
    }
  };
  take(tables.manifest, [&](ViewRow& row, size_t view) {
    if (!Locate(row, view)) return false;
    count_ += done_[view] != 0 ? 0 : 1;
    done_[view] = 1;
    return true;
  });
  take(tables.lost, [&](const ViewRow& row, size_t view) { return done_[view] == 0 && !row.fault.empty(); });
  return foreign;
}

// A shard may have been packed anew since its rows were written, so a member is found by its name.
bool ViewFolder::Locate(ViewRow& row, size_t view) {
  std::error_code code;
  if (row.shard.empty()) {
    const uint64_t size = fs::file_size(folder_ / row.file, code);
    return !code && size > 0 && (row.bytes == 0 || row.bytes == size);
  }
  if (row.shard != ShardOf(view)) return false;
  const Members& members = MembersOf(row.shard);
  const auto found = members.find(row.file);
  if (found == members.end() || found->second.size != row.bytes) return false;
  row.offset = found->second.offset;
  if (fs::is_regular_file(folder_ / row.file, code)) fs::remove(folder_ / row.file, code);  // a kill came before this
  return true;
}

std::string ViewFolder::ShardOf(size_t view) const {
  return per_shard_ > 0 ? ShardName(static_cast<int64_t>(view) / per_shard_) : "";
}

const ViewFolder::Members& ViewFolder::MembersOf(const std::string& shard) {
  const auto [place, is_new] = members_.try_emplace(shard);
  const Path file = folder_ / shard;
  std::error_code code;
  if (!is_new || !fs::is_regular_file(file, code)) return place->second;
  try {
    const MappedFile mapped(file);
    const ReadAt read = [text = mapped.text()](uint64_t offset, char* out, size_t size) {
      return offset < text.size() ? text.copy(out, size, offset) : 0;
    };
    for (TarMember& member : IndexTar(read, mapped.size(), file.string()))
      place->second.insert_or_assign(member.name, member);
  } catch (const Error&) {
    place->second.clear();  // what it held is made again
  }
  return place->second;
}

std::vector<size_t> ViewFolder::Pack(int64_t shard) {
  const auto begin = static_cast<size_t>(shard * per_shard_),
             end = std::min(rows_.size(), static_cast<size_t>((shard + 1) * per_shard_));
  const std::string name = ShardName(shard);
  std::vector<size_t> views, loose;
  for (size_t view = begin; view < end; ++view) {
    if (done_[view] == 0) continue;
    views.push_back(view);
    if (rows_[view].shard.empty()) loose.push_back(view);
  }
  std::error_code code;
  if (views.empty()) fs::remove(folder_ / name, code);
  if (loose.empty() && (views.empty() || MembersOf(name).size() == views.size())) return {};
  AtomicFile out(folder_ / name);
  uint64_t at = 0;
  std::vector<ViewRow> packed;
  for (const size_t view : views) {
    ViewRow row = rows_[view];
    const Outcome<std::string> bytes = ReadViewBytes(folder_, row);
    if (!bytes) {
      throw Error({.what = Format("the view of {} cannot be read any more: {}", row.id, bytes.reason()),
                   .where = (folder_ / (row.shard.empty() ? row.file : row.shard)).string(),
                   .next = "run the same command again; it makes what is missing"});
    }
    const std::string header = TarHeader(row.file, bytes->size()), padding = TarPadding(bytes->size());
    row.shard = name;
    row.offset = at + header.size();
    row.bytes = bytes->size();
    row.hash = Fingerprint(*bytes);
    for (const std::string* part : {&header, &*bytes, &padding}) out.Write(*part), at += part->size();
    packed.push_back(std::move(row));
  }
  out.Write(TarEnd());
  out.Commit();
  for (size_t i = 0; i < views.size(); ++i) rows_[views[i]] = std::move(packed[i]);
  members_.erase(name);
  return loose;
}

void ViewFolder::RemoveFiles(const std::vector<size_t>& views) const {
  std::error_code code;
  for (const size_t view : views) fs::remove(folder_ / rows_[view].file, code);
}

// The shard, then its rows, then the files it was made of: killed between, all can be found, and the shard be packed
// again.
void ViewFolder::PackShard(int64_t shard) {
  const std::vector<size_t> loose = Pack(shard);
  if (loose.empty()) return;
  // The others' places may have changed, too.
  for (auto view = static_cast<size_t>(shard * per_shard_); view < rows_.size() && ShardOf(view) == ShardName(shard);
       ++view) {
    if (done_[view] != 0) log_->Append(ViewRowToJson(rows_[view]).dump());
  }
  log_->Sync();
  RemoveFiles(loose);
}

// Both tables in the order of the sources; what is as it should be is left alone.
void ViewFolder::WriteTables() const {
  std::vector<char> lost;
  for (size_t i = 0; i < rows_.size(); ++i) lost.push_back(done_[i] == 0 && !rows_[i].fault.empty() ? 1 : 0);
  const Tables tables = TablesOf(0);
  const auto write = [](const Path& file, const std::string& text) {
    if (!fs::exists(file) || ReadFile(file, UINT64_MAX) != text) WriteFile(file, text);
  };
  write(tables.manifest, Lines(rows_, done_));
  std::error_code code;
  if (const std::string text = Lines(rows_, lost); !text.empty()) write(tables.lost, text);
  else fs::remove(tables.lost, code);
}

void ViewFolder::WritePicture(int64_t view, std::string_view bytes, int64_t width, int64_t height) {
  ViewRow& row = rows_[static_cast<size_t>(view)];
  WriteFile(folder_ / row.file, bytes);
  row.width = width;
  row.height = height;
  row.bytes = bytes.size();
  row.hash = Fingerprint(bytes);
}

void ViewFolder::AddRow(int64_t view, const std::string& picture, bool retried) {
  const auto i = static_cast<size_t>(view);
  rows_[i].picture = picture;
  rows_[i].retried = retried ? 1 : 0;
  rows_[i].fault.clear();
  done_[i] = 1;
  ++count_;
  log_->Append(ViewRowToJson(rows_[i]).dump());
}

void ViewFolder::AddLost(int64_t view, const std::string& picture, const std::string& fault) {
  const auto i = static_cast<size_t>(view);
  rows_[i].picture = picture;
  rows_[i].fault = fault;
  if (lost_log_ == nullptr) lost_log_ = std::make_unique<LineLog>(TablesOf(rank_).lost);
  lost_log_->Append(ViewRowToJson(rows_[i]).dump());
}

// The rows go before the files that they vouch for.
void ViewFolder::Drop(const std::vector<int64_t>& views) {
  if (views.empty()) return;
  std::vector<Path> files;
  for (const int64_t view : views) {
    ViewRow& row = rows_[static_cast<size_t>(view)];
    if (Has(view)) --count_, ++replaced_;
    done_[static_cast<size_t>(view)] = 0;
    if (row.shard.empty()) files.push_back(folder_ / row.file);
    row.shard = row.hash = row.picture = row.fault = "";
    row.negative_prompt = negative_prompt_;
    row.offset = row.bytes = 0;
    row.retried = row.width = row.height = 0;
  }
  Close();
  WriteTables();
  std::error_code code;
  for (const Path& file : files) fs::remove(file, code);
  log_ = std::make_unique<LineLog>(TablesOf(0).manifest);
}

void ViewFolder::Close() {
  if (log_ != nullptr) log_->Sync();
  if (lost_log_ != nullptr) lost_log_->Sync();
  log_.reset();
  lost_log_.reset();
}

// Those that the pictures lay in before they were packed.
void ViewFolder::RemoveEmptyFolders() const {
  std::set<Path> folders;
  for (const ViewRow& row : rows_) folders.insert(Path(row.file).parent_path());
  std::error_code code;
  for (Path folder : folders) {
    for (; !folder.empty() && fs::is_empty(folder_ / folder, code) && !code; folder = folder.parent_path())
      fs::remove(folder_ / folder, code);
  }
}

void ViewFolder::Finish() {
  Close();
  const std::vector<Tables> others = TablesOfOthers();
  members_.clear();  // other processes have packed some
  for (const Tables& tables : others) TakeRows(tables, /*redo=*/false);
  std::vector<size_t> loose;
  for (int64_t shard = 0; per_shard_ > 0 && shard * per_shard_ < std::ssize(rows_); ++shard) {
    const std::vector<size_t> some = Pack(shard);
    loose.insert(loose.end(), some.begin(), some.end());
  }
  WriteTables();
  RemoveFiles(loose);
  if (per_shard_ > 0) RemoveEmptyFolders();
  std::error_code code;
  for (const Tables& tables : others) fs::remove(tables.manifest, code), fs::remove(tables.lost, code);
}

}  // namespace genview
