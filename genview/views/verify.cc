#include "genview/views/verify.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "genview/base/folder_lock.h"
#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/generated_views.h"
#include "genview/data/ordered_batches.h"
#include "genview/data/source.h"
#include "genview/data/tar_writer.h"
#include "genview/image/image.h"
#include "genview/records/records.h"
#include "genview/views/generate.h"
#include "genview/views/noise_levels.h"
#include "genview/views/request.h"
#include "genview/views/view_folder.h"
#include "genview/views/view_noise.h"
#include "genview/views/wanted_rows.h"

namespace genview {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "manifest.jsonl";
constexpr const char* kLost = "lost.jsonl";
constexpr const char* kSettings = "settings.json";

struct Checked {
  ViewRow row;
  std::string line;     // of the manifest
  std::string problem;  // "" for a good row
  std::string hash;     // of the file as it is
};

// A run that was stopped has written some views twice: when they were made, and when their shard was packed, or packed
// anew.
bool IsPackedSince(const ViewRow& before, const ViewRow& row) {
  return before.file == row.file && !row.shard.empty() &&
         (before.shard.empty() || (before.shard == row.shard && before.offset != row.offset));
}

// The rows of a manifest; lines that are none are problems of their own. A torn last line is what a kill leaves: it is
// left out here and by the next run.
std::vector<Checked> ReadRows(const Path& manifest, std::vector<std::string>& problems) {
  std::vector<Checked> rows;
  std::map<std::pair<std::string, int64_t>, size_t> seen;
  const auto lines = ReadLines(manifest, /*keep_torn=*/false);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (Trim(lines[i]).empty()) continue;
    const std::string where = Format("line {}", i + 1);
    try {
      Checked checked{
          .row = ViewRowFromJson(ParseJson(lines[i], where), where), .line = lines[i], .problem = "", .hash = ""};
      const auto [place, is_new] = seen.emplace(std::pair(checked.row.id, checked.row.index), rows.size());
      if (!is_new && IsPackedSince(rows[place->second].row, checked.row)) {
        rows[place->second] = std::move(checked);
        continue;
      }
      if (!is_new) checked.problem = Format("{}: the view of {} is there twice", where, checked.row.id);
      rows.push_back(std::move(checked));
    } catch (const Error& error) {
      problems.push_back(Format("{}: {}", where, error.text().what));
    }
  }
  return rows;
}

// What is wrong with a row's file, "" for nothing.
std::string FaultOfFile(const Path& folder, const ViewRow& row, int64_t size, std::string& hash) {
  std::error_code code;
  const Path path = folder / (row.shard.empty() ? row.file : row.shard);
  if (!fs::is_regular_file(path, code)) return Format("the {} is not there", row.shard.empty() ? "file" : "shard");
  const Outcome<std::string> bytes = ReadViewBytes(folder, row);
  if (!bytes) return bytes.reason();
  hash = Fingerprint(*bytes);
  if (row.bytes != 0 && row.bytes != bytes->size())
    return Format("the file has {} bytes, the row says {}", bytes->size(), row.bytes);
  if (!row.hash.empty() && row.hash != hash) return "the file's contents are not those that were written";
  const Outcome<Image> image = DecodeImage(*bytes);
  if (!image) return Format("the file is no picture: {}", image.reason());
  if (row.width != 0 && (image->width != row.width || image->height != row.height))
    return Format("the picture is {} x {}, the row says {} x {}", image->width, image->height, row.width, row.height);
  if (size > 0 && (image->width != size || image->height != size))
    return Format("the picture is {} x {}, asked for were {}", image->width, image->height, size);
  if (std::all_of(image->pixels.begin(), image->pixels.end(), [](uint8_t value) { return value == 0; }))
    return "the picture is black";
  return "";
}

bool IsAmong(const std::set<FileIdentity>& files, const Path& file) {
  const auto identity = IdentityOf(file);
  return identity && files.contains(*identity);
}

// What the manifest should say, and the pictures that it speaks of.
struct Wanted {
  struct View {
    ViewRow row;
    int64_t image;  // of the source
  };
  std::map<std::pair<std::string, int64_t>, View> views;  // by picture and view
  std::shared_ptr<const ImageSource> source;
  std::set<FileIdentity> pictures;  // that are files of their own
};

Wanted WantedOf(const ViewsConfig& asked) {
  const auto source = OpenSource(asked.images);
  const NoiseLevels levels = NoiseLevels::Open(asked);
  Wanted wanted;
  int64_t view = 0;
  for (ViewRow& row : WantedRows(asked, *source, levels)) {
    if (asked.per_shard > 0) row.shard = ShardName(view / asked.per_shard);
    const std::pair key(row.id, row.index);
    wanted.views.emplace(key, Wanted::View{std::move(row), view++ / asked.per_image});
  }
  for (int64_t i = 0; i < source->size(); ++i) {
    if (const auto picture = IdentityOf(source->FileOf(i))) wanted.pictures.insert(*picture);
  }
  wanted.source = source;
  return wanted;
}

std::optional<Wanted> TryWanted(const std::optional<ViewsConfig>& asked) {
  try {
    return asked ? std::optional(WantedOf(*asked)) : std::nullopt;
  } catch (const Error&) {
    return std::nullopt;  // the pictures have gone since: the views can still be compared with their rows
  }
}

std::string FaultOfRow(const Path& folder, const ViewRow& row, const std::optional<ViewsConfig>& asked,
                       const std::optional<Wanted>& wanted) {
  if (!asked) return "";
  if (row.index >= asked->per_image) return Format("view {} of {} asked for", row.index, asked->per_image);
  if (row.steps != asked->steps) return Format("made with {} steps, asked for were {}", row.steps, asked->steps);
  if (row.seed != ViewSeed(asked->run.seed, row.id, row.index)) return "made with another seed than the folder's";
  if (!wanted) return "";
  const auto found = wanted->views.find({row.id, row.index});
  if (found == wanted->views.end()) return Format("there is no picture {}", row.id);
  const auto& [should, image] = found->second;
  if (row.file != should.file) return Format("the view of {} should be {}", row.id, should.file);
  if (row.noise_level != should.noise_level)
    return Format("made with noise level {}, asked for was {}", row.noise_level, should.noise_level);
  if (row.guidance != should.guidance)
    return Format("made with guidance {}, asked for was {}", row.guidance, should.guidance);
  if (row.prompt != should.prompt)
    return Format("made with the prompt \"{}\", asked for was \"{}\"", row.prompt, should.prompt);
  if (!row.negative_prompt.empty() && row.negative_prompt != should.negative_prompt)
    return Format("made with the negative prompt \"{}\", asked for was \"{}\"", row.negative_prompt,
                  should.negative_prompt);
  if (!row.shard.empty() && row.shard != should.shard)
    return Format("the view of {} should be in {}", row.id, should.shard.empty() ? "a file of its own" : should.shard);
  if (IsOfAnotherPicture(*wanted->source, image, folder, row))
    return Format("{} is another picture than the one that it was made of", row.id);
  return "";
}

// Rows that say otherwise than most, where all must say the same.
void MarkOtherGenerators(std::vector<Checked>& rows) {
  std::map<std::pair<std::string, std::string>, int64_t> counts;
  for (const Checked& row : rows) ++counts[{row.row.generator, row.row.scheduler}];
  const auto most =
      std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  for (Checked& row : rows) {
    if (!row.problem.empty() || std::pair(row.row.generator, row.row.scheduler) == most->first) continue;
    row.problem = Format("{}: made with another generator or scheduler than the others", row.row.file);
  }
}

void CheckRows(const Path& folder, std::vector<Checked>& rows, const std::optional<ViewsConfig>& asked,
               const std::optional<Wanted>& wanted, Progress& progress) {
  progress.Begin("views verify", static_cast<int64_t>(rows.size()), "views");
  MarkOtherGenerators(rows);
  const int64_t size = asked ? asked->size : 0;
  OrderedBatches<int64_t> batches(
      {.begin = 0, .end = static_cast<int64_t>(rows.size()), .batch = 64, .threads = ResolveThreads(0), .ahead = 2},
      [](int64_t, int64_t count) { return count; },
      [&](int64_t&, int64_t, int64_t position) {
        Checked& row = rows[static_cast<size_t>(position)];
        if (!row.problem.empty()) return;
        std::string fault = FaultOfRow(folder, row.row, asked, wanted);
        if (fault.empty()) fault = FaultOfFile(folder, row.row, size, row.hash);
        if (!fault.empty()) row.problem = Format("{}: {}", row.row.file, fault);
      });
  int64_t done = 0;
  for (int64_t count = 0; batches.Next(count);) {
    progress.ThrowIfStopped();
    progress.Update(done += count);
  }
  // Of two rows with one file, or with the same picture, neither is to be trusted.
  std::map<std::string, std::vector<size_t>> by_file, by_hash;
  for (size_t i = 0; i < rows.size(); ++i) {
    by_file[rows[i].row.file].push_back(i);
    if (!rows[i].hash.empty()) by_hash[rows[i].hash].push_back(i);
  }
  const auto mark = [&](const auto& groups, const char* what) {
    for (const auto& [key, members] : groups) {
      for (const size_t i : members) {
        const size_t other = members[0] == i ? members[members.size() > 1 ? 1 : 0] : members[0];
        if (members.size() > 1 && rows[i].problem.empty())
          rows[i].problem = Format("{}: {} {} ({})", rows[i].row.file, what, rows[other].row.file, rows[other].row.id);
      }
    }
  };
  mark(by_file, "two rows name the file, see also");
  mark(by_hash, "the same picture as");
  progress.End();
}

// Whether a shard is byte for byte what the rows of all its views say: for each of them, in order, a header, the
// picture and zeros up to the next block; and the end of the file. "" for a good one.
std::string FaultOfShard(const Path& file, std::vector<const ViewRow*> rows) {
  std::sort(rows.begin(), rows.end(), [](const ViewRow* a, const ViewRow* b) { return a->offset < b->offset; });
  const MappedFile mapped(file);
  uint64_t at = 0;
  const auto comes = [&](const std::string& wanted) {
    const bool same = at <= mapped.size() && mapped.text().substr(at, wanted.size()) == wanted;
    at += wanted.size();
    return same;
  };
  for (const ViewRow* row : rows) {
    const uint64_t begin = at;
    if (!comes(TarHeader(row->file, row->bytes)) || at != row->offset)
      return Format("the shard is not as it was written, from byte {} on", begin);
    at += row->bytes;
    if (!comes(TarPadding(row->bytes))) return Format("the shard is not as it was written, at byte {}", at);
  }
  return comes(TarEnd()) && at == mapped.size()
             ? ""
             : Format("the shard holds something else beside its views, from byte {} on", at - TarEnd().size());
}

// Shards that are not as they should be -> why. "": because of one of their rows, which says itself what is wrong.
std::map<std::string, std::string> BrokenShards(const Path& folder, const std::vector<Checked>& rows,
                                                const std::optional<ViewsConfig>& asked) {
  std::map<std::string, std::vector<const ViewRow*>> shards;
  std::map<std::string, std::string> broken;
  for (const Checked& row : rows) {
    if (row.row.shard.empty()) continue;
    shards[row.row.shard].push_back(&row.row);
    if (!row.problem.empty()) broken.emplace(row.row.shard, "");
  }
  for (const auto& [shard, members] : shards) {
    if (broken.count(shard) != 0) continue;
    std::string fault = FaultOfShard(folder / shard, members);
    if (fault.empty() && asked && asked->per_shard == 0)
      fault = "the views are in a shard, asked for were files of their own";
    if (!fault.empty()) broken.emplace(shard, std::move(fault));
  }
  return broken;
}

// Without `pictures`, which views are made of and nobody may remove.
std::vector<std::string> FilesWithoutRow(const Path& folder, const std::vector<Checked>& rows,
                                         const std::set<FileIdentity>& pictures) {
  std::set<std::string> known;
  for (const Checked& row : rows)
    known.insert(Path(row.row.shard.empty() ? row.row.file : row.row.shard).lexically_normal().generic_string());
  std::vector<std::string> files;
  std::error_code code;
  for (fs::recursive_directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    if (!it->is_regular_file(code) || !LooksLikeView(it->path())) continue;
    const std::string name = it->path().lexically_relative(folder).generic_string();
    if (known.count(name) != 0) continue;
    if (!IsAmong(pictures, it->path())) files.push_back(name);
  }
  std::sort(files.begin(), files.end());
  return files;
}

// What the folder's other tables have wrong. `lost`: how many views are in lost.jsonl, -1 where it cannot be read.
std::vector<std::string> FaultsOfTables(const Path& folder, const std::optional<ViewsConfig>& asked, int64_t& lost) {
  std::vector<std::string> faults;
  const auto check = [&](const char* name, auto&& read) {
    try {
      if (fs::exists(folder / name)) read(folder / name);
    } catch (const Error& error) {
      faults.push_back(Format("{}: {}", name, error.text().what));
    }
  };
  check(kLost, [&](const Path& file) {
    lost = -1;
    lost = static_cast<int64_t>(ReadViewTable(file).size());
  });
  if (!asked) return faults;
  if (!fs::exists(folder / kSettings)) faults.push_back(Format("{}: the file is not there", kSettings));
  check(kSettings, [&](const Path& file) {
    const Json settings = ReadJson(file);
    if (!settings.is_object() || settings.value("size", Json()) != Json(asked->size) ||
        settings.value("prompt", Json()) != Json(asked->prompt)) {
      faults.push_back(Format("{}: not what the folder was asked for", kSettings));
    }
  });
  return faults;
}

// Pictures that could not be read, or have no ratio, have no view either.
int64_t CountSkipped(const Path& folder, int64_t per_image) {
  const Path file = folder / "skipped.tsv";
  if (!fs::exists(file)) return 0;
  const auto lines = ReadLines(file);
  const auto count =
      std::count_if(lines.begin() + std::min<ptrdiff_t>(1, static_cast<ptrdiff_t>(lines.size())), lines.end(),
                    [](const std::string& line) { return line.find(", in fp32 too") == std::string::npos; });
  return count * per_image;
}

struct Findings {
  VerifyReport report;
  std::optional<ViewsConfig> asked;  // what the folder was made from, where it says so
  std::optional<Wanted> wanted;      // the same in rows, where the pictures are there
  std::vector<Checked> rows;
  std::map<std::string, std::string> broken;  // shards -> why
  std::vector<std::string> strangers;         // files without a row
  int64_t lost = 0;                           // views in lost.jsonl; -1: the table cannot be read

  bool whole() const { return report.problems.empty() && report.missing == 0; }
};

// Every problem of the folder, in the order of the report.
void ListProblems(Findings& found) {
  VerifyReport& report = found.report;
  int64_t loose = 0;
  for (const Checked& row : found.rows) {
    if (!row.problem.empty()) report.problems.push_back(row.problem);
    else ++report.rows, loose += row.row.shard.empty() ? 1 : 0;
  }
  for (const auto& [shard, fault] : found.broken) {
    if (!fault.empty()) report.problems.push_back(Format("{}: {}", shard, fault));
  }
  if (found.asked && found.asked->per_shard > 0 && loose > 0)
    report.problems.push_back(Format("{} views are in no shard yet", loose));
  for (const std::string& file : found.strangers) {
    report.problems.push_back(Format("{}: a {} without a row", file, file.ends_with(".tar") ? "shard" : "picture"));
  }
}

// Reads all and changes nothing.
Findings Check(const VerifyConfig& config, Progress& progress) {
  const Path manifest = config.folder / kManifest;
  Findings found;
  try {
    found.asked = ReadViewsRequest(config.folder);
  } catch (const Error& error) {
    if (config.repair) throw;
    progress.Warn(Format("{}: {}", error.text().where, error.text().what));
  }
  const auto& asked = found.asked;
  if (!fs::exists(manifest) && !asked) {
    throw Error({.what = "the folder has no manifest of views",
                 .where = manifest.string(),
                 .next = "give a folder that `genview views` has written"});
  }
  if (fs::exists(manifest)) found.rows = ReadRows(manifest, found.report.problems);
  found.wanted = TryWanted(asked);
  const auto& all = found.wanted;
  CheckRows(config.folder, found.rows, asked, all, progress);
  for (std::string& fault : FaultsOfTables(config.folder, asked, found.lost))
    found.report.problems.push_back(std::move(fault));
  found.broken = BrokenShards(config.folder, found.rows, asked);
  found.strangers = FilesWithoutRow(config.folder, found.rows, all ? all->pictures : std::set<FileIdentity>());
  ListProblems(found);
  if (all) {
    const int64_t without = std::max<int64_t>(0, found.lost) + CountSkipped(config.folder, asked->per_image);
    found.report.missing = std::max<int64_t>(0, std::ssize(all->views) - found.report.rows - without);
  }
  return found;
}

// What is good in a broken shard gets files of its own; then come the good rows alone, and then no file that is not in
// them. Stopped between, the next repair does the rest. A damaged row may name any other file of the folder, or one of
// `pictures`: these stay.
void RemoveWhatIsWrong(const Path& folder, Findings& found, const std::set<FileIdentity>& pictures) {
  std::string text;
  std::set<std::string> good;
  for (Checked& row : found.rows) {
    if (!row.problem.empty()) continue;
    if (found.broken.count(row.row.shard) != 0) {
      const Outcome<std::string> bytes = ReadViewBytes(folder, row.row);
      if (!bytes) continue;
      WriteFile(folder / row.row.file, *bytes);
      row.row.shard.clear();
      row.row.offset = 0;
      row.line = ViewRowToJson(row.row).dump();
    }
    text += row.line + "\n";
    good.insert(row.row.shard.empty() ? row.row.file : row.row.shard);
  }
  WriteFile(folder / kManifest, text);
  std::error_code code;
  if (found.lost < 0) fs::remove(folder / kLost, code);  // what was lost is tried again, and is so again
  for (const Checked& row : found.rows) {
    const Path file = folder / row.row.file;
    if (!row.problem.empty() && good.count(row.row.file) == 0 && LooksLikeView(file) && !IsAmong(pictures, file))
      fs::remove(file, code);
  }
  for (const auto& [shard, fault] : found.broken) {
    if (LooksLikeView(shard)) fs::remove(folder / shard, code);
  }
  for (const std::string& file : found.strangers) {
    if (good.count(file) == 0) fs::remove(folder / file, code);
  }
}

}  // namespace

VerifyReport VerifyViews(const VerifyConfig& config, Progress& progress) {
  Findings found;
  {
    // A job that is at work has pictures whose rows are yet to come, and its manifest open.
    std::optional<FolderLock> lock;
    if (config.repair && fs::is_directory(config.folder)) lock.emplace(config.folder);
    found = Check(config, progress);
    if (!config.repair || found.whole()) return found.report;
    if (!found.asked) {
      throw Error({.what = "the folder does not say what it was made from",
                   .where = (config.folder / "request.json").string(),
                   .next = "run the `genview views` command of this folder again: it makes what is missing"});
    }
    RefuseAmongPictures(found.asked->images, config.folder);
    (void)ChooseDevice(config.device);                         // throws
    if (!found.wanted) found.wanted = WantedOf(*found.asked);  // throws: what cannot be made again is not removed
    RemoveWhatIsWrong(config.folder, found, found.wanted->pictures);
  }  // GenerateViews takes the lock itself
  found.asked->run.device = config.device;
  found.asked->run.threads = config.threads;
  found.report.made = GenerateViews(*found.asked, progress).made;
  return found.report;
}

}  // namespace genview
