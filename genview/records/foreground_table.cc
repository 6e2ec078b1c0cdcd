#include <algorithm>
#include <unordered_map>

#include "genview/base/text.h"
#include "genview/records/records.h"

namespace genview {
namespace {

constexpr const char* kColumns[] = {"id", "path", "foreground_ratio", "noise_level"};
constexpr double kHighestGuidance = 100;
constexpr int64_t kHighestLevel = 999;  // of 1000 noising steps
const std::vector<int64_t> kDefaultLevels = {0, 100, 200, 300, 400};

struct Line {
  const Path& file;
  int64_t number;
  std::string_view text;

  [[noreturn]] void Fail(const std::string& what) const {
    throw Error({.what = what,
                 .where = Format("{}, line {}", file.string(), number),
                 .next = "a line is `id<tab>path<tab>foreground_ratio<tab>noise_level` below such a header, or "
                         "`<path> <ratio>` without one"});
  }
  double Number(std::string_view field, const char* name) const {
    double value = 0;
    if (!ParseDouble(Trim(field), value)) Fail(Format("`{}` is not a {}", Printable(field, 100), name));
    return value;
  }
  double Ratio(std::string_view field) const {
    const double ratio = Number(field, "ratio");
    if (ratio < 0 || ratio > 1) Fail(Format("a ratio of {} is not between 0 and 1", ratio));
    return ratio;
  }
  double Guidance(std::string_view field) const {
    const double guidance = Number(field, "guidance scale");
    if (!(guidance >= 0 && guidance <= kHighestGuidance))
      Fail(Format("a guidance scale of {} is not between 0 and {}", guidance, kHighestGuidance));
    return guidance;
  }
  int64_t Level(std::string_view field) const {
    int64_t level = 0;
    if (!ParseInt(Trim(field), level) || level < 0 || level > kHighestLevel) {
      Fail(Format("`{}` is not a noise level, a whole number from 0 to {}", Printable(field, 100), kHighestLevel));
    }
    return level;
  }
};

// Where the four columns are, and the two that a user may add; others may stand between them.
struct Header {
  size_t place[4];
  std::optional<size_t> guidance, prompt;

  static bool Is(std::string_view line) { return line == "id" || line.starts_with("id\t"); }

  explicit Header(const Line& line) {
    const auto names = Split(line.text, '\t');
    for (size_t c = 0; c < 4; ++c) {
      const auto found = std::find(names.begin(), names.end(), kColumns[c]);
      if (found == names.end()) line.Fail(Format("the header has no column `{}`", kColumns[c]));
      place[c] = static_cast<size_t>(found - names.begin());
    }
    for (size_t c = 0; c < names.size(); ++c) {
      if (names[c] == "guidance") guidance = c;
      if (names[c] == "prompt") prompt = c;
    }
  }
};

ForegroundRow ParseTableLine(const Line& line, const Header& header) {
  const auto fields = Split(line.text, '\t');
  const auto field = [&](size_t c) -> const std::string& {
    if (header.place[c] >= fields.size()) line.Fail(Format("the column `{}` is missing", kColumns[c]));
    return fields[header.place[c]];
  };
  ForegroundRow row{field(0), field(1), line.Ratio(field(2)), line.Level(field(3))};
  if (row.id.empty()) line.Fail("the id is empty");
  const auto added = [&](std::optional<size_t> c) { return c && *c < fields.size() && !Trim(fields[*c]).empty(); };
  if (added(header.guidance)) row.guidance = line.Guidance(fields[*header.guidance]);
  if (added(header.prompt)) row.prompt = std::string(Trim(fields[*header.prompt]));
  return row;
}

// `<path> <number>`: the number is what follows the last blank or tab, so a path may hold blanks.
ForegroundRow ParseListLine(const Line& line) {
  const std::string_view text = Trim(line.text);
  const size_t gap = text.find_last_of(" \t");
  if (gap == std::string_view::npos) line.Fail("no number behind the path");
  const std::string_view number = text.substr(gap + 1);
  ForegroundRow row;
  row.id = row.path = std::string(Trim(text.substr(0, gap)));
  if (line.Number(number, "number") > 1) {
    row.noise_level = line.Level(number);
    row.ratio = std::min(1.0, static_cast<double>(row.noise_level / 100) * 0.2 + 0.1);
  } else {
    row.ratio = line.Ratio(number);
    row.noise_level = NoiseLevelFor(row.ratio, kDefaultLevels);
  }
  return row;
}

}  // namespace

std::vector<ForegroundRow> ReadForegroundTable(const Path& path) {
  const MappedFile file(path);
  std::vector<ForegroundRow> rows;
  std::unordered_map<std::string, size_t> place;
  std::optional<Header> header;
  for (LineWalk lines(file.text()); lines.Next();) {
    const Line line{path, lines.number(), lines.line()};
    if (lines.number() == 1 && Header::Is(line.text)) {
      header.emplace(line);
      continue;
    }
    if (Trim(line.text).empty()) continue;
    ForegroundRow row = header ? ParseTableLine(line, *header) : ParseListLine(line);
    const auto [known, is_new] = place.emplace(row.id, rows.size());
    if (is_new) rows.push_back(std::move(row));
    else if (rows[known->second] != row) line.Fail(Format("`{}` is there twice, with different values", row.id));
  }
  return rows;
}

void WriteForegroundTable(const Path& path, const std::vector<ForegroundRow>& rows) {
  AtomicFile file(path);
  std::string text = Format("{}\n", fmt::join(kColumns, "\t"));
  for (const ForegroundRow& row : rows) {
    text += Format("{}\t{}\t{}\t{}\n", TsvField(row.id), TsvField(row.path), row.ratio, row.noise_level);
    if (text.size() > (1 << 20)) {
      file.Write(text);
      text.clear();
    }
  }
  file.Write(text);
  file.Commit();
}

int64_t NoiseLevelFor(double ratio, const std::vector<int64_t>& levels) {
  GENVIEW_CHECK(!levels.empty(), "no noise levels");
  const auto count = static_cast<double>(levels.size());
  size_t bin = 0;
  while (bin + 1 < levels.size() && ratio > static_cast<double>(bin + 1) / count) ++bin;
  return levels[bin];
}

std::string TsvField(std::string_view text) {
  std::string field(text);
  for (char& c : field) {
    if (c == '\t' || c == '\n' || c == '\r') c = ' ';
  }
  return field;
}

}  // namespace genview
