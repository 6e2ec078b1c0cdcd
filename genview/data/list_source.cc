#include <algorithm>

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

class ListSource : public FileSource {
 public:
  explicit ListSource(const Path& list) : folder_(list.parent_path()) {
    const std::vector<std::string> lines = ReadLines(list);
    std::vector<std::string> values;
    for (size_t i = 0; i < lines.size(); ++i) {
      auto line = ParseListLine(lines[i], Format("{}, line {}", list.string(), i + 1));
      if (!line) continue;
      items_.push_back({Id(line->path), SafeText(line->path)});
      paths_.push_back(std::move(line->path));
      values.push_back(SafeText(line->value));
    }
    if (items_.empty()) {
      throw Error({.what = "the list is empty", .where = list.string(), .next = "one path per line"});
    }
    CheckUniqueIds(items_, list.string());
    CheckSomeExist(list);
    if (AreRatios(values)) return;
    ClassIndex index = IndexClasses(values);
    classes_ = std::move(index.names);
    for (size_t i = 0; i < items_.size(); ++i) items_[i].label = index.labels[i];
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

  // A list made for another folder shows at once; single files that have gone are skipped when they are read.
  void CheckSomeExist(const Path& list) const {
    constexpr size_t kTried = 16;
    std::error_code code;
    for (size_t i = 0; i < std::min(paths_.size(), kTried); ++i) {
      if (std::filesystem::exists(Find(paths_[i]), code)) return;
    }
    throw Error({.what = Format("none of the first {} files of the list is there, for example {}",
                                std::min(paths_.size(), kTried), items_[0].path),
                 .where = list.string(),
                 .next = "paths are relative to the list's folder, else to the working directory"});
  }

  Path folder_;
  std::vector<std::string> paths_;
};

}  // namespace

std::shared_ptr<const ImageSource> OpenList(const Path& list) { return std::make_shared<ListSource>(list); }

}  // namespace genview
