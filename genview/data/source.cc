#include "genview/data/source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <unordered_map>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/source_parts.h"

namespace genview {

Outcome<ImagePart> ImageSource::ReadPart(int64_t i, const WantedBox& wanted) const {
  Outcome<Image> image = Read(i);
  if (!image) return Outcome<ImagePart>::Failed(image.reason());
  return WholeAsPart(std::move(*image), wanted);
}

Outcome<GrayImage> ImageSource::ReadMask(int64_t) const {
  return Outcome<GrayImage>::Failed("this source has no masks");
}

bool IsPictureName(std::string_view name) {
  const std::string lower = Lower(name.substr(name.size() - std::min<size_t>(name.size(), 5)));
  for (const char* ending : {".jpg", ".jpeg", ".png", ".webp"}) {
    if (lower.ends_with(ending)) return name.size() > std::strlen(ending);
  }
  return false;
}

std::string OtherPictureEnding(const std::string& name) {
  constexpr std::string_view kEndings[] = {".avif", ".bmp", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".tif", ".tiff"};
  const std::string ending = Lower(Path(name).extension().string());
  return std::ranges::find(kEndings, ending) != std::end(kEndings) ? ending : "";
}

std::string SafeId(std::string_view path) {
  std::string id;
  for (const std::string& part : Split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (!id.empty()) id += '/';
    if (part == "..") {
      id += "__";
      continue;
    }
    const bool text = IsUtf8(part);
    for (const char c : part) {
      const auto byte = static_cast<uint8_t>(c);
      if (byte < 0x20 || byte == 0x7f || (!text && byte >= 0x80)) id += Format("%{:02X}", byte);
      else id += c;
    }
  }
  return id;
}

// `size`: from `offset` to the end where there is none.
static Outcome<std::string> ReadRange(const Path& path, uint64_t offset, std::optional<uint64_t> size) {
  using Result = Outcome<std::string>;
  // Non-blocking, so that a pipe with a picture's name does not hold the run up.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return Result::Failed(std::strerror(errno));
  struct ::stat status{};
  std::string bytes;
  std::string reason;
  const bool known = ::fstat(descriptor, &status) == 0;
  const uint64_t all = known ? static_cast<uint64_t>(status.st_size) : 0;
  if (!known) reason = std::strerror(errno);
  else if (!S_ISREG(status.st_mode)) reason = "not a file";
  else if (size.value_or(all) > kLargestFile) reason = kTooLarge;
  else if (offset > all || size.value_or(0) > all - offset) reason = "the file is cut off";
  else bytes.resize(size.value_or(all - offset));
  for (size_t done = 0; reason.empty() && done < bytes.size();) {
    const ssize_t count =
        ::pread(descriptor, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) reason = std::strerror(errno);
    if (count == 0) bytes.resize(done);  // it has become shorter
    if (count > 0) done += static_cast<size_t>(count);
  }
  ::close(descriptor);
  if (!reason.empty()) return Result::Failed(reason);
  return bytes;
}

Outcome<std::string> ReadFileBytes(const Path& path) { return ReadRange(path, 0, std::nullopt); }
Outcome<std::string> ReadFilePart(const Path& path, uint64_t offset, uint64_t size) {
  return ReadRange(path, offset, size);
}

std::string ContentSample(uint64_t size, const std::function<Outcome<std::string>(uint64_t, uint64_t)>& read) {
  constexpr uint64_t kBlocks = 4, kBlock = 4096;
  std::string text;
  const auto add = [&](uint64_t offset, uint64_t count) {
    const Outcome<std::string> part = read(offset, count);
    text += part ? *part : part.reason();
  };
  if (size <= kBlocks * kBlock) {
    add(0, size);
  } else {
    for (uint64_t block = 0; block < kBlocks; ++block) add((size - kBlock) * block / (kBlocks - 1), kBlock);
  }
  return Format("{} {}", size, Fingerprint(text));
}

std::string ContentSampleOf(const Path& path) {
  std::error_code code;
  const auto size = std::filesystem::file_size(path, code);
  if (code) return "";
  return ContentSample(size, [&](uint64_t offset, uint64_t count) { return ReadFilePart(path, offset, count); });
}

std::string FingerprintOfItems(const std::vector<SourceItem>& items,
                               const std::function<std::string(int64_t)>& sample) {
  constexpr int64_t kEach = 256;  // files of a thread at least: most of the time is waiting for the disk
  std::vector<std::string> samples(items.size());
  const int64_t count = std::ssize(items), share = std::max(kEach, (count + 15) / 16);
  {
    std::vector<std::jthread> threads;  // joined at the end of this block, while what they read is there
    for (int64_t begin = 0; begin < count; begin += share) {
      threads.emplace_back([&, begin] {
        for (int64_t i = begin; i < std::min(count, begin + share); ++i) samples[static_cast<size_t>(i)] = sample(i);
      });
    }
  }
  std::string all;
  for (size_t i = 0; i < items.size(); ++i) all += Format("{}\t{}\t{}\n", items[i].id, items[i].label, samples[i]);
  return Fingerprint(all);
}

ClassIndex IndexClasses(const std::vector<std::string>& class_of_item) {
  std::map<std::string_view, int64_t> labels;
  for (const std::string& name : class_of_item) {
    if (!name.empty()) labels[name] = 0;
  }
  ClassIndex index;
  for (auto& [name, label] : labels) {
    label = static_cast<int64_t>(index.names.size());
    index.names.emplace_back(name);
  }
  for (const std::string& name : class_of_item) index.labels.push_back(name.empty() ? -1 : labels[name]);
  return index;
}

void CheckUniqueIds(const std::vector<SourceItem>& items, const std::string& where) {
  std::unordered_map<std::string_view, const SourceItem*> known;
  known.reserve(items.size());
  for (const SourceItem& item : items) {
    const auto [first, is_new] = known.emplace(item.id, &item);
    if (is_new) continue;
    throw Error({.what = Format("two pictures have the id \"{}\": {} and {}", item.id, first->second->path, item.path),
                 .where = where,
                 .next = "name each picture once; ids are paths relative to the source"});
  }
}

namespace {

// Names near a path that is not there, from its folder.
std::string Nearby(const Path& path) {
  std::vector<std::string> names;
  std::error_code code;
  const Path folder = path.has_parent_path() ? path.parent_path() : Path(".");
  for (std::filesystem::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    names.push_back(it->path().filename().string());
    if (names.size() > 10'000) break;
  }
  const std::string near = NearestName(path.filename().string(), names);
  if (near.empty()) return "check the path; images are a folder, a list file, tar shards or shapes:count=...";
  return Format("did you mean {}?", (path.parent_path() / near).string());
}

}  // namespace

std::vector<std::string> IdsOf(const ImageSource& source) {
  std::vector<std::string> ids;
  for (int64_t i = 0; i < source.size(); ++i) ids.push_back(source.item(i).id);
  return ids;
}

std::vector<std::string> IdsOf(const ImageSource& source, const std::vector<int64_t>& indices) {
  std::vector<std::string> ids;
  for (const int64_t i : indices) ids.push_back(source.item(i).id);
  return ids;
}

std::set<std::string> FoldersOf(const std::vector<std::string>& ids) {
  std::set<std::string> folders;
  for (const std::string& id : ids) {
    for (size_t slash = id.find('/'); slash != std::string::npos; slash = id.find('/', slash + 1))
      folders.insert(id.substr(0, slash));
  }
  return folders;
}

void WarnOfOtherFormats(const ImageSource& source, Progress& progress) {
  std::string list;
  for (const auto& [ending, count] : source.passed_over())
    list += Format("{}{} {}", list.empty() ? "" : ", ", count, ending);
  if (!list.empty()) progress.Warn(Format("pictures of formats that are not read were passed over: {}", list));
}

void RefuseToOverwrite(const ImageSource& source, const std::vector<Path>& files) {
  std::set<FileIdentity> there;
  for (const Path& file : files) {
    if (const auto identity = IdentityOf(file)) there.insert(*identity);
  }
  for (int64_t i = 0; !there.empty() && i < source.size(); ++i) {
    const Path picture = source.FileOf(i);
    const auto identity = IdentityOf(picture);
    if (!identity || !there.contains(*identity)) continue;
    throw UsageError({.what = "one of the pictures themselves would be overwritten",
                      .where = picture.string(),
                      .next = "give a folder that holds none of them"});
  }
}

// Absolute, without links and dots, whether it is there or not.
static Path TruePath(const Path& path) {
  std::error_code code;
  return std::filesystem::weakly_canonical(std::filesystem::absolute(path, code), code);
}

void RefuseAmongPictures(const std::string& spec, const Path& folder) {
  const std::string_view pictures = std::string_view(spec).substr(SubsetsEnd(spec));
  std::error_code code;
  if (!std::filesystem::is_directory(pictures, code)) return;
  const Path inside = TruePath(folder).lexically_relative(TruePath(pictures));
  if (inside.empty() || *inside.begin() == "..") return;
  for (const Path& part : inside) {  // hidden folders are passed over
    if (part != "." && part.string().starts_with('.')) return;
  }
  throw UsageError({.what = "what is made would lie among the pictures that it is made of",
                    .where = folder.string(),
                    .next = Format("give a folder that is not in {}", pictures)});
}

std::shared_ptr<const ImageSource> OpenSource(const std::string& spec) {
  if (spec.empty()) {
    throw UsageError(
        {.what = "no images are named",
         .where = "images",
         .next = "name a folder, a list file, tar shards (name-{0000..0127}.tar) or shapes:count=4096,size=64"});
  }
  if (spec.starts_with("shapes:")) return OpenShapes(spec);
  if (spec.starts_with(kSubset)) return OpenSubset(spec);
  Path path = spec;
  if (!path.has_filename() && path.has_parent_path()) path = path.parent_path();  // "photos/" is photos
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (std::filesystem::is_directory(status)) return OpenFolder(path);  // whatever its name looks like
  const bool there = std::filesystem::exists(status);
  if ((!there && spec.find('{') != std::string::npos) || Lower(spec).ends_with(".tar")) return OpenShards(spec);
  if (!there) {
    throw Error({.what = "there is no such file or folder", .where = spec, .next = Nearby(path)});
  }
  for (const char* ending : {".tar.gz", ".tgz", ".zip", ".tar.xz", ".tar.zst", ".tar.bz2"}) {
    if (!Lower(spec).ends_with(ending)) continue;
    throw UsageError({.what = "pictures inside a compressed archive cannot be read one by one",
                      .where = spec,
                      .next = "unpack it, or make plain .tar shards: pictures are compressed already"});
  }
  if (IsPictureName(spec)) {
    throw UsageError({.what = "this is one picture, not a set of them",
                      .where = spec,
                      .next = "name its folder, or a text file with a path per line"});
  }
  return OpenList(path);
}

namespace {

class ConcatSource : public ImageSource {
 public:
  ConcatSource(std::shared_ptr<const ImageSource> first, std::shared_ptr<const ImageSource> second)
      : parts_{std::move(first), std::move(second)} {
    std::vector<std::string> class_of_item;
    for (const auto& part : parts_) {
      for (int64_t i = 0; i < part->size(); ++i) {
        items_.push_back(part->item(i));
        const int64_t label = part->item(i).label;
        class_of_item.push_back(label < 0 ? "" : part->classes()[static_cast<size_t>(label)]);
      }
    }
    CheckUniqueIds(items_, "joined images");
    ClassIndex index = IndexClasses(class_of_item);
    classes_ = std::move(index.names);
    for (size_t i = 0; i < items_.size(); ++i) items_[i].label = index.labels[i];
  }

  int64_t size() const override { return static_cast<int64_t>(items_.size()); }
  const SourceItem& item(int64_t i) const override { return items_[static_cast<size_t>(i)]; }
  Outcome<Image> Read(int64_t i) const override { return Part(i).Read(Place(i)); }
  Outcome<ImagePart> ReadPart(int64_t i, const WantedBox& wanted) const override {
    return Part(i).ReadPart(Place(i), wanted);
  }
  Outcome<std::string> ReadBytes(int64_t i) const override { return Part(i).ReadBytes(Place(i)); }
  Outcome<GrayImage> ReadMask(int64_t i) const override { return Part(i).ReadMask(Place(i)); }
  Path FileOf(int64_t i) const override { return Part(i).FileOf(Place(i)); }
  std::optional<int64_t> ChangedAt(int64_t i) const override { return Part(i).ChangedAt(Place(i)); }
  std::string Fingerprint() const override {
    return genview::Fingerprint(parts_[0]->Fingerprint() + parts_[1]->Fingerprint());
  }

 private:
  const ImageSource& Part(int64_t i) const { return i < parts_[0]->size() ? *parts_[0] : *parts_[1]; }
  int64_t Place(int64_t i) const { return i < parts_[0]->size() ? i : i - parts_[0]->size(); }

  std::shared_ptr<const ImageSource> parts_[2];
  std::vector<SourceItem> items_;
};

class RoundsSource : public ImageSource {
 public:
  RoundsSource(std::shared_ptr<const ImageSource> inner, int64_t rounds) : inner_(std::move(inner)), rounds_(rounds) {
    for (int64_t round = 0; round < rounds; ++round) {
      for (int64_t i = 0; i < inner_->size(); ++i) {
        items_.push_back(inner_->item(i));
        if (round > 0) items_.back().id = Format("round-{}/{}", round + 1, items_.back().id);
      }
    }
    CheckUniqueIds(items_, "repeated images");
    classes_ = inner_->classes();
  }

  int64_t size() const override { return static_cast<int64_t>(items_.size()); }
  const SourceItem& item(int64_t i) const override { return items_[static_cast<size_t>(i)]; }
  Outcome<Image> Read(int64_t i) const override { return inner_->Read(i % inner_->size()); }
  Outcome<ImagePart> ReadPart(int64_t i, const WantedBox& wanted) const override {
    return inner_->ReadPart(i % inner_->size(), wanted);
  }
  Outcome<std::string> ReadBytes(int64_t i) const override { return inner_->ReadBytes(i % inner_->size()); }
  Outcome<GrayImage> ReadMask(int64_t i) const override { return inner_->ReadMask(i % inner_->size()); }
  Path FileOf(int64_t i) const override { return inner_->FileOf(i % inner_->size()); }
  std::optional<int64_t> ChangedAt(int64_t i) const override { return inner_->ChangedAt(i % inner_->size()); }
  std::string Fingerprint() const override {
    return genview::Fingerprint(Format("{} {}", inner_->Fingerprint(), rounds_));
  }

 private:
  std::shared_ptr<const ImageSource> inner_;
  int64_t rounds_;
  std::vector<SourceItem> items_;
};

}  // namespace

std::shared_ptr<const ImageSource> ConcatSources(std::shared_ptr<const ImageSource> first,
                                                 std::shared_ptr<const ImageSource> second) {
  return std::make_shared<ConcatSource>(std::move(first), std::move(second));
}

std::shared_ptr<const ImageSource> RepeatSource(std::shared_ptr<const ImageSource> source, int64_t rounds) {
  if (rounds == 1) return source;
  return std::make_shared<RoundsSource>(std::move(source), rounds);
}

}  // namespace genview
