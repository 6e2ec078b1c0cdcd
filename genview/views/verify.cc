#include "genview/views/verify.h"

#include <algorithm>
#include <map>
#include <set>

#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/ordered_batches.h"
#include "genview/data/source.h"
#include "genview/image/image.h"
#include "genview/records/records.h"
#include "genview/views/generate.h"
#include "genview/views/request.h"
#include "genview/views/view_noise.h"

namespace genview {
namespace {

namespace fs = std::filesystem;

struct Checked {
  ViewRow row;
  std::string line;     // of the manifest
  std::string problem;  // "" for a good row
  std::string hash;     // of the file as it is
};

constexpr uint64_t kMostBytes = uint64_t{1} << 30;

// The rows of a manifest; lines that are none are problems of their own. A torn last line is what a kill leaves: it is left
// out here and by the next run.
std::vector<Checked> ReadRows(const Path& manifest, std::vector<std::string>& problems) {
  std::vector<Checked> rows;
  std::map<std::pair<std::string, int64_t>, size_t> seen;
  const auto lines = ReadLines(manifest, /*keep_torn=*/false);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (Trim(lines[i]).empty()) continue;
    const std::string where = Format("line {}", i + 1);
    try {
      Checked checked{.row = ViewRowFromJson(ParseJson(lines[i], where), where), .line = lines[i], .problem = "", .hash = ""};
      const auto [place, is_new] = seen.emplace(std::pair(checked.row.id, checked.row.index), rows.size());
      if (!is_new) checked.problem = Format("{}: the view of {} is there twice", where, checked.row.id);
      rows.push_back(std::move(checked));
    } catch (const Error& error) {
      problems.push_back(Format("{}: {}", where, error.text().what));
    }
  }
  return rows;
}

// What is wrong with a row's file, "" for nothing.
std::string FaultOfFile(const Path& path, const ViewRow& row, int64_t size, std::string& hash) {
  std::error_code code;
  if (!fs::is_regular_file(path, code)) return "the file is not there";
  if (fs::file_size(path, code) > kMostBytes) return "the file is larger than any picture";
  const std::string bytes = ReadFile(path, kMostBytes);
  hash = Fingerprint(bytes);
  if (row.bytes != 0 && row.bytes != bytes.size()) return Format("the file has {} bytes, the row says {}", bytes.size(), row.bytes);
  if (!row.hash.empty() && row.hash != hash) return "the file's contents are not those that were written";
  const Outcome<Image> image = DecodeImage(bytes);
  if (!image) return Format("the file is no picture: {}", image.reason());
  if (size > 0 && (image->width != size || image->height != size)) return Format("the picture is {} x {}, asked for were {}", image->width, image->height, size);
  if (std::all_of(image->pixels.begin(), image->pixels.end(), [](uint8_t value) { return value == 0; })) return "the picture is black";
  return "";
}

std::string FaultOfRow(const ViewRow& row, const std::optional<ViewsConfig>& asked) {
  if (!asked) return "";
  if (row.steps != asked->steps) return Format("made with {} steps, asked for were {}", row.steps, asked->steps);
  if (row.guidance != asked->guidance) return Format("made with guidance {}, asked for was {}", row.guidance, asked->guidance);
  if (row.seed != ViewSeed(asked->run.seed, row.id, row.index)) return "made with another seed than the folder's";
  if (row.index >= asked->per_image) return Format("view {} of {} asked for", row.index, asked->per_image);
  return "";
}

void CheckRows(const Path& folder, std::vector<Checked>& rows, const std::optional<ViewsConfig>& asked, Progress& progress) {
  progress.Begin("views verify", static_cast<int64_t>(rows.size()), "views");
  const int64_t size = asked ? asked->size : 0;
  OrderedBatches<int64_t> batches({.begin = 0, .end = static_cast<int64_t>(rows.size()), .batch = 64, .threads = ResolveThreads(0), .ahead = 2},
                                  [](int64_t, int64_t count) { return count; },
                                  [&](int64_t&, int64_t, int64_t position) {
                                    Checked& row = rows[static_cast<size_t>(position)];
                                    if (!row.problem.empty()) return;
                                    std::string fault = FaultOfRow(row.row, asked);
                                    if (fault.empty()) fault = FaultOfFile(folder / row.row.file, row.row, size, row.hash);
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
        if (members.size() > 1 && rows[i].problem.empty()) rows[i].problem = Format("{}: {} {} ({})", rows[i].row.file, what, rows[other].row.file, rows[other].row.id);
      }
    }
  };
  mark(by_file, "two rows name the file, see also");
  mark(by_hash, "the same picture as");
  progress.End();
}

std::vector<std::string> FilesWithoutRow(const Path& folder, const std::vector<Checked>& rows) {
  std::set<std::string> known;
  for (const Checked& row : rows) known.insert(Path(row.row.file).lexically_normal().generic_string());
  std::vector<std::string> files;
  std::error_code code;
  for (fs::recursive_directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    const std::string ending = Lower(it->path().extension().string());
    if (!it->is_regular_file(code) || (ending != ".png" && ending != ".jpg" && ending != ".webp")) continue;
    const std::string name = it->path().lexically_relative(folder).generic_string();
    if (known.count(name) == 0) files.push_back(name);
  }
  std::sort(files.begin(), files.end());
  return files;
}

// How many views there should be; -1 where the pictures cannot be asked.
int64_t AskedViews(const std::optional<ViewsConfig>& asked) {
  if (!asked) return -1;
  try {
    return OpenSource(asked->images)->size() * asked->per_image;
  } catch (const Error&) {
    return -1;
  }
}

int64_t CountLost(const Path& folder) {
  const Path lost = folder / "lost.jsonl";
  return fs::exists(lost) ? static_cast<int64_t>(ReadViewTable(lost).size()) : 0;
}

// Pictures that could not be read, or have no ratio, have no view either.
int64_t CountSkipped(const Path& folder, int64_t per_image) {
  const Path file = folder / "skipped.tsv";
  if (!fs::exists(file)) return 0;
  const auto lines = ReadLines(file);
  const auto count = std::count_if(lines.begin() + std::min<ptrdiff_t>(1, static_cast<ptrdiff_t>(lines.size())), lines.end(),
                                   [](const std::string& line) { return line.find(", in fp32 too") == std::string::npos; });
  return count * per_image;
}

}  // namespace

VerifyReport VerifyViews(const VerifyConfig& config, Progress& progress) {
  const Path manifest = config.folder / "manifest.jsonl";
  std::optional<ViewsConfig> asked;
  try {
    asked = ReadViewsRequest(config.folder);
  } catch (const Error& error) {
    if (config.repair) throw;
    progress.Warn(Format("{}: {}", error.text().where, error.text().what));
  }
  if (!fs::exists(manifest) && !asked) {
    throw Error({.what = "the folder has no manifest of views", .where = manifest.string(), .next = "give a folder that `genview views` has written"});
  }
  VerifyReport report;
  std::vector<Checked> rows = fs::exists(manifest) ? ReadRows(manifest, report.problems) : std::vector<Checked>{};
  CheckRows(config.folder, rows, asked, progress);
  const std::vector<std::string> strangers = FilesWithoutRow(config.folder, rows);
  for (const Checked& row : rows) {
    if (row.problem.empty()) ++report.rows;
    else report.problems.push_back(row.problem);
  }
  for (const std::string& file : strangers) report.problems.push_back(Format("{}: a picture without a row", file));
  const int64_t wanted = AskedViews(asked);
  if (wanted >= 0) report.missing = std::max<int64_t>(0, wanted - report.rows - CountLost(config.folder) - CountSkipped(config.folder, asked->per_image));
  if (!config.repair || (report.problems.empty() && report.missing == 0)) return report;
  if (!asked) {
    throw Error({.what = "the folder does not say what it was made from", .where = (config.folder / "request.json").string(),
                 .next = "run the `genview views` command of this folder again: it makes what is missing"});
  }
  // First the good rows alone, then no file that is not in them: stopped between, the next run makes the rest as well.
  std::string text;
  std::set<std::string> good;
  for (const Checked& row : rows) {
    if (!row.problem.empty()) continue;
    text += row.line + "\n";
    good.insert(row.row.file);
  }
  WriteFile(manifest, text);
  std::error_code code;
  for (const Checked& row : rows) {
    if (!row.problem.empty() && good.count(row.row.file) == 0) fs::remove(config.folder / row.row.file, code);
  }
  for (const std::string& file : strangers) fs::remove(config.folder / file, code);
  report.made = GenerateViews(*asked, progress).made;
  return report;
}

}  // namespace genview
