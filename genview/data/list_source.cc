#include <algorithm>
#include <unordered_set>

#include "genview/base/text.h"
#include "genview/data/file_source.h"
#include "genview/data/source_parts.h"

namespace genview {

std::optional<ListLine> ParseListLine(std::string_view line, std::string_view where) {
  if (line.find('\0') != std::string_view::npos) {
    throw UsageError({.what = "this is no list of paths: it holds zero bytes",
                      .where = std::string(where),
                      .next = "give a text file with one path per line"});
  }
  if (Trim(line).empty()) return std::nullopt;
  const size_t tab = line.find('\t');
  ListLine parts;
  if (tab != std::string_view::npos) {
    parts = {std::string(Trim(line.substr(0, tab))), std::string(Trim(line.substr(tab + 1)))};
  } else {
    line = Trim(line);
    const size_t blank = std::min(line.find(' '), line.size());
    parts = {std::string(line.substr(0, blank)), std::string(Trim(line.substr(blank)))};
  }
  // "my photo.jpg" without a tab is a path with a blank, not the picture "my" of the class "photo.jpg".
  const bool torn =
      tab == std::string_view::npos && (parts.value.find(' ') != std::string::npos || IsPictureName(parts.value));
  if (parts.path.empty() || torn || parts.value.find('\t') != std::string::npos) {
    throw UsageError({.what = Format("\"{}\" is not a path and a class", Printable(SafeId(line))),
                      .where = std::string(where),
                      .next = "one path per line, then a tab and its class; paths with blanks need the tab"});
  }
  return parts;
}

namespace {

// A column of ratios has numbers that are not whole; whole numbers are class numbers.
bool AreRatios(const std::vector<std::string>& values) {
  bool fraction = false;
  for (const std::string& value : values) {
    double number = 0;
    int64_t whole = 0;
    if (value.empty()) continue;
    if (!ParseDouble(value, number)) return false;
    fraction = fraction || !ParseInt(value, whole);
  }
  return fraction;
}

// Another kind of file, which may be of any size and of one line.
void RefuseZeros(std::string_view text, const Path& list) {
  constexpr size_t kLookedAt = 4096;
  if (text.substr(0, kLookedAt).find('\0') == std::string_view::npos) return;
  throw UsageError({.what = "this is no list of paths: it holds zero bytes",
                    .where = list.string(),
                    .next = "give a text file with one path per line, a folder or tar shards; pictures within other "
                            "files must be taken out of them first"});
}

// The file is walked through, not copied, and one that is no list, or repeats itself, is left at the line that shows
// it: what is kept is of pictures that are named once, some of which are there.
class ListSource : public FileSource {
 public:
  explicit ListSource(const Path& list) : folder_(list.parent_path()) {
    const MappedFile file(list);
    RefuseZeros(file.text(), list);
    std::vector<std::string> values;
    std::unordered_set<size_t> known;  // hashes of ids
    for (LineWalk lines(file.text()); lines.Next();) {
      if (Trim(lines.line()).empty()) continue;
      const std::string where = Format("{}, line {}", list.string(), lines.number());
      RefuseLong(lines.line(), where);
      auto line = ParseListLine(lines.line(), where);
      items_.push_back({Id(line->path), SafeText(line->path)});
      paths_.push_back(std::move(line->path));
      values.push_back(SafeText(line->value));
      if (!known.insert(std::hash<std::string>()(items_.back().id)).second) CheckUniqueIds(items_, where);
      if (paths_.size() == kTried) CheckSomeExist(list);
    }
    if (items_.empty()) {
      throw Error({.what = "the list is empty", .where = list.string(), .next = "one path per line"});
    }
    if (paths_.size() < kTried) CheckSomeExist(list);
    ratios_ = AreRatios(values);
    if (ratios_) return;
    ClassIndex index = IndexClasses(values);
    classes_ = std::move(index.names);
    for (size_t i = 0; i < items_.size(); ++i) items_[i].label = index.labels[i];
  }

  ListFacts Facts() const {
    ListFacts facts{.images = size(), .classes = std::ssize(classes_), .ratios = ratios_};
    std::error_code code;
    for (int64_t i = 0; i < size(); ++i) facts.missing += !std::filesystem::exists(FilePath(i), code);
    return facts;
  }

 protected:
  Path FilePath(int64_t i) const override { return Find(paths_[static_cast<size_t>(i)]); }

 private:
  // Relative to the list's folder where the file is there, else to the working directory.
  Path Find(const std::string& path) const {
    if (Path(path).is_absolute()) return path;
    Path beside = folder_ / path;
    std::error_code code;
    return std::filesystem::exists(beside, code) ? beside : Path(path);
  }

  std::string Id(const std::string& path) const {
    const Path clean = Path(path).lexically_normal();
    if (clean.is_absolute()) {
      const Path inside =
          clean.lexically_relative(std::filesystem::absolute(folder_.empty() ? "." : folder_).lexically_normal());
      if (!inside.empty() && *inside.begin() != "..") return SafeId(inside.string());
    }
    return SafeId(clean.string());
  }

  static std::string SafeText(const std::string& text) { return IsUtf8(text) ? text : SafeId(text); }

  static void RefuseLong(std::string_view line, const std::string& where) {
    constexpr size_t kLongest = 1 << 16;
    if (line.size() <= kLongest) return;
    throw UsageError({.what = Format("a line of {} is not a path and a class", HumanBytes(line.size())),
                      .where = where,
                      .next = "one path per line, then a tab and its class"});
  }

  // A list made for another folder shows at once; single files that have gone are skipped when they are read.
  void CheckSomeExist(const Path& list) const {
    std::error_code code;
    for (size_t i = 0; i < std::min(paths_.size(), kTried); ++i) {
      if (std::filesystem::exists(Find(paths_[i]), code)) return;
    }
    throw Error({.what = Format("none of the first {} files of the list is there, for example {}",
                                std::min(paths_.size(), kTried), items_[0].path),
                 .where = list.string(),
                 .next = "paths are relative to the list's folder, else to the working directory"});
  }

  static constexpr size_t kTried = 16;

  Path folder_;
  std::vector<std::string> paths_;
  bool ratios_ = false;  // the second column is one of ratios
};

}  // namespace

std::shared_ptr<const ImageSource> OpenList(const Path& list) { return std::make_shared<ListSource>(list); }

ListFacts FactsOfList(const Path& list) { return ListSource(list).Facts(); }

}  // namespace genview
