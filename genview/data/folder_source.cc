#include <sys/stat.h>
#include <algorithm>

#include "genview/base/text.h"
#include "genview/data/file_source.h"
#include "genview/data/masks.h"
#include "genview/data/source_parts.h"

namespace genview {
namespace {

constexpr size_t kDeepest = 64;  // folders within folders

class FolderSource : public FileSource {
 public:
  explicit FolderSource(Path folder) : folder_(std::move(folder)) {
    Walk("");
    if (names_.empty()) {
      throw Error({.what = Format("no pictures in this folder ({} other files)", others_),
                   .where = folder_.string(),
                   .next = "pictures are .jpg .jpeg .png .webp files, here or in folders below"});
    }
    std::vector<std::string> class_of_item;
    for (const std::string& name : names_) {
      const size_t slash = name.find('/');
      class_of_item.push_back(slash == std::string::npos ? "" : SafeId(name.substr(0, slash)));
      items_.push_back({SafeId(name), SafePath(folder_ / name)});
    }
    CheckUniqueIds(items_, folder_.string());
    ClassIndex index = IndexClasses(class_of_item);
    classes_ = std::move(index.names);
    for (size_t i = 0; i < items_.size(); ++i) items_[i].label = index.labels[i];
    // `dataset make` writes images/ and masks/ beside each other.
    const Path whole = std::filesystem::absolute(folder_).lexically_normal();
    const Path beside = whole.parent_path() / "masks";
    std::error_code code;
    if (whole.filename() == "images" && std::filesystem::is_directory(beside, code)) masks_ = beside;
    const auto same = [&](size_t i) { return names_[i] == items_[i].id; };
    size_t plain = 0;
    while (plain < names_.size() && same(plain)) ++plain;
    if (plain == names_.size()) std::vector<std::string>().swap(names_);
  }

  Outcome<GrayImage> ReadMask(int64_t i) const override {
    if (masks_.empty()) return ImageSource::ReadMask(i);
    const Outcome<std::string> bytes = ReadFileBytes((masks_ / Name(i)).replace_extension(".png"));
    if (!bytes) return Outcome<GrayImage>::Failed(bytes.reason());
    return DecodeMask(*bytes);
  }

 protected:
  Path FilePath(int64_t i) const override { return folder_ / Name(i); }

 private:
  const std::string& Name(int64_t i) const { return names_.empty() ? item(i).id : names_[static_cast<size_t>(i)]; }

  static std::string SafePath(const Path& path) {  // paths go into tables and JSON
    if (IsUtf8(path.string())) return path.string();
    return Format("{}{}", path.is_absolute() ? "/" : "", SafeId(path.string()));
  }

  void PassOver(const std::string& name) {
    ++others_;
    if (const std::string other = OtherPictureEnding(name); !other.empty()) ++passed_over_[other];
  }

  // Adds the pictures below folder_ / `inside` ("" or "a/b/") in sorted order.
  void Walk(const std::string& inside) {
    const Path here = folder_ / inside;
    struct ::stat status{};
    if (::stat(here.c_str(), &status) != 0 || above_.size() > kDeepest) {
      throw Error({.what = above_.size() > kDeepest ? "folders within folders without end" : "cannot open the folder",
                   .where = here.string(),
                   .next = "check the folder and its links"});
    }
    const std::pair<uint64_t, uint64_t> identity{status.st_dev, status.st_ino};
    if (std::find(above_.begin(), above_.end(), identity) != above_.end()) return;  // a link back to a folder above
    above_.push_back(identity);

    std::vector<std::pair<std::string, bool>> entries;  // name, is a folder
    std::error_code code;
    for (std::filesystem::directory_iterator it(here, code), end; !code && it != end; it.increment(code)) {
      std::string name = it->path().filename().string();
      if (name.starts_with('.')) continue;  // hidden, unfinished, or another system's side files
      std::error_code unknown;
      const bool is_folder = it->is_directory(unknown);
      if (is_folder || IsPictureName(name)) entries.emplace_back(std::move(name), is_folder);
      else PassOver(name);
    }
    if (code) {
      throw Error({.what = Format("cannot read the folder: {}", code.message()),
                   .where = here.string(),
                   .next = "check that you may read it"});
    }
    std::sort(entries.begin(), entries.end());
    for (const auto& [name, is_folder] : entries) {
      if (is_folder) Walk(inside + name + "/");
      else names_.push_back(inside + name);
    }
    above_.pop_back();
  }

  Path folder_, masks_;
  std::vector<std::string> names_;                    // as the file system has them; empty when they are the ids
  std::vector<std::pair<uint64_t, uint64_t>> above_;  // while walking: the folders on the way down
  int64_t others_ = 0;
};

}  // namespace

std::shared_ptr<const ImageSource> OpenFolder(const Path& folder) { return std::make_shared<FolderSource>(folder); }

}  // namespace genview
