#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "genview/base/hash.h"
#include "genview/base/text.h"
#include "genview/data/encoded_source.h"
#include "genview/data/source_parts.h"
#include "genview/data/tar_index.h"

namespace genview {

std::vector<std::string> ExpandBraces(const std::string& spec) {
  const size_t open = spec.find('{'), close = spec.find('}');
  if (open == std::string::npos && close == std::string::npos) return {spec};
  const auto fail = [&](const std::string& what) {
    throw UsageError({.what = what, .where = spec, .next = "write the range as name-{0000..0127}.tar"});
  };
  if (open == std::string::npos || close == std::string::npos || close < open ||
      spec.find_first_of("{}", close + 1) != std::string::npos || spec.find('{', open + 1) < close) {
    fail("a range in braces is not closed, or there are several");
  }
  const std::string range = spec.substr(open + 1, close - open - 1);
  const size_t dots = range.find("..");
  const std::string first = range.substr(0, dots), last = dots == std::string::npos ? "" : range.substr(dots + 2);
  uint64_t from = 0, to = 0;
  if (!ParseUint(first, from) || !ParseUint(last, to)) fail(Format("`{{{}}}` is not a range of numbers", range));
  constexpr uint64_t kMost = 1'000'000;
  if (to < from || to - from >= kMost) fail(Format("`{{{}}}` runs backwards or is too long", range));
  std::vector<std::string> names;
  for (uint64_t k = 0; k <= to - from; ++k) {
    names.push_back(Format("{}{:0{}}{}", spec.substr(0, open), from + k, first.size(), spec.substr(close + 1)));
  }
  return names;
}

namespace {

// An open shard. Descriptors are kept while there are few shards; of many, each read opens its own.
class Shard {
 public:
  Shard(std::string path, bool keep_open) : path_(std::move(path)), keep_open_(keep_open) {
    descriptor_ = Open();
    struct ::stat status{};
    if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
      const std::string reason = descriptor_ < 0 ? std::strerror(errno) : "not a file";
      if (descriptor_ >= 0) ::close(descriptor_);
      throw Error({.what = Format("cannot open the shard: {}", reason),
                   .where = path_,
                   .next = "check the range in braces and that you may read the files"});
    }
    size_ = static_cast<uint64_t>(status.st_size);
  }
  ~Shard() { Close(); }
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  std::vector<TarMember> Index() const {
    return IndexTar([this](uint64_t at, char* out, size_t size) { return ReadAtOf(descriptor_, at, out, size); }, size_,
                    path_);
  }
  void Indexed() {
    if (!keep_open_) Close();
  }

  Outcome<std::string> Read(uint64_t offset, uint64_t size) const {
    if (size > kLargestFile) return Outcome<std::string>::Failed(kTooLarge);
    std::string bytes(size, '\0');
    const int descriptor = descriptor_ >= 0 ? descriptor_ : Open();
    if (descriptor < 0) return Outcome<std::string>::Failed(std::strerror(errno));
    const size_t count = ReadAtOf(descriptor, offset, bytes.data(), bytes.size());
    if (descriptor != descriptor_) ::close(descriptor);
    if (count != size) return Outcome<std::string>::Failed("the shard is cut off");
    return bytes;
  }

  const std::string& path() const { return path_; }

 private:
  int Open() const { return ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); }
  void Close() {
    if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  }
  static size_t ReadAtOf(int descriptor, uint64_t at, char* out, size_t size) {
    size_t done = 0;
    while (done < size) {
      const ssize_t count = ::pread(descriptor, out + done, size - done, static_cast<off_t>(at + done));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) break;
      done += static_cast<size_t>(count);
    }
    return done;
  }

  std::string path_;
  bool keep_open_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

// a/b/0017.left.jpg: WebDataset's key ends at the first point of the file name, other people's at the last.
std::vector<std::string> KeysOf(std::string_view name) {
  const size_t slash = name.rfind('/') == std::string_view::npos ? 0 : name.rfind('/') + 1;
  std::vector<std::string> keys;
  for (const size_t point : {name.rfind('.'), name.find('.', slash)}) {
    if (point != std::string_view::npos && point >= slash) keys.emplace_back(name.substr(0, point));
  }
  return keys;
}

// Members that are pictures; of those of one name the last counts, as in unpacking. Pictures of other formats are
// counted in `passed_over`.
std::vector<TarMember> PicturesAmong(const std::vector<TarMember>& members,
                                     std::map<std::string, int64_t>& passed_over) {
  std::unordered_map<std::string_view, size_t> last;
  for (size_t i = 0; i < members.size(); ++i) last[members[i].name] = i;
  std::vector<TarMember> pictures;
  for (size_t i = 0; i < members.size(); ++i) {
    const std::string& name = members[i].name;
    const std::string file = name.substr(name.rfind('/') + 1);  // npos + 1 is 0
    if (file.starts_with('.') || last[name] != i) continue;
    if (IsPictureName(file)) pictures.push_back(members[i]);
    else if (const std::string other = OtherPictureEnding(file); !other.empty()) ++passed_over[other];
  }
  return pictures;
}

class TarSource : public EncodedSource {
 public:
  explicit TarSource(const std::string& spec) {
    constexpr size_t kKeptOpen = 256;
    std::error_code code;
    const bool one = std::filesystem::exists(spec, code);  // whatever its name looks like
    const std::vector<std::string> files = one ? std::vector<std::string>{spec} : ExpandBraces(spec);
    CheckAllExist(files, spec);
    std::vector<std::string> class_of_item;
    for (const std::string& file : files) {
      shards_.push_back(std::make_unique<Shard>(file, files.size() <= kKeptOpen));
      AddShard(class_of_item);
      shards_.back()->Indexed();
    }
    if (!has_classes_) UseFolders(class_of_item);
    if (items_.empty()) {
      throw Error({.what = "no pictures in these shards",
                   .where = spec,
                   .next = "pictures are members named .jpg .jpeg .png .webp"});
    }
    NameMembersApart();
    CheckUniqueIds(items_, spec);
    ClassIndex index = IndexClasses(class_of_item);
    classes_ = std::move(index.names);
    for (size_t i = 0; i < items_.size(); ++i) items_[i].label = index.labels[i];
  }

  int64_t size() const override { return static_cast<int64_t>(items_.size()); }
  const SourceItem& item(int64_t i) const override { return items_[static_cast<size_t>(i)]; }
  Outcome<std::string> ReadBytes(int64_t i) const override {
    const Place& place = places_[static_cast<size_t>(i)];
    return shards_[place.shard]->Read(place.offset, place.size);
  }
  std::optional<int64_t> ChangedAt(int64_t i) const override {
    return FileChangedAt(shards_[places_[static_cast<size_t>(i)].shard]->path());
  }
  std::string Fingerprint() const override {
    std::call_once(fingerprint_once_, [&] {
      fingerprint_ = FingerprintOfItems(items_, [&](int64_t i) {
        const Place& place = places_[static_cast<size_t>(i)];
        return ContentSample(place.size, [&](uint64_t offset, uint64_t count) {
          return shards_[place.shard]->Read(place.offset + offset, count);
        });
      });
    });
    return fingerprint_;
  }

 private:
  struct Place {
    size_t shard;
    uint64_t offset, size;
  };

  static void CheckAllExist(const std::vector<std::string>& files, const std::string& spec) {
    std::vector<std::string> missing;
    std::error_code code;
    for (const std::string& file : files) {
      if (!std::filesystem::exists(file, code)) missing.push_back(file);
    }
    if (missing.empty()) return;
    throw Error({.what = Format("{} of {} shards {} not there, the first is {}", missing.size(), files.size(),
                                missing.size() == 1 ? "is" : "are", missing[0]),
                 .where = spec,
                 .next = "check the folder and the range in braces"});
  }

  void AddShard(std::vector<std::string>& class_of_item) {
    const Shard& shard = *shards_.back();
    const std::vector<TarMember> members = shard.Index();
    std::unordered_map<std::string, std::string> class_of_key;
    for (const TarMember& member : members) {
      if (member.name.ends_with(".cls")) class_of_key[KeysOf(member.name)[0]] = ReadClass(shard, member);
    }
    has_classes_ = has_classes_ || !class_of_key.empty();
    for (const TarMember& member : PicturesAmong(members, passed_over_)) {
      const std::string id = SafeId(member.name);
      items_.push_back({id, Format("{}#{}", IsUtf8(shard.path()) ? shard.path() : SafeId(shard.path()), id)});
      places_.push_back({shards_.size() - 1, member.offset, member.size});
      class_of_item.push_back(ClassOf(member.name, class_of_key));
    }
  }

  // What its .cls file says; "" without one.
  static std::string ClassOf(const std::string& name,
                             const std::unordered_map<std::string, std::string>& class_of_key) {
    for (const std::string& key : KeysOf(name)) {
      if (const auto found = class_of_key.find(key); found != class_of_key.end()) return found->second;
    }
    return "";
  }

  // Where no shard has a .cls file: the first-level folders are the classes.
  void UseFolders(std::vector<std::string>& class_of_item) const {
    for (size_t i = 0; i < items_.size(); ++i) {
      const size_t slash = items_[i].id.find('/');
      if (slash != std::string::npos) class_of_item[i] = items_[i].id.substr(0, slash);
    }
  }

  static std::string ReadClass(const Shard& shard, const TarMember& member) {
    constexpr uint64_t kLongest = 1024;
    const auto bytes = shard.Read(member.offset, std::min(member.size, kLongest + 1));
    if (!bytes || bytes->size() > kLongest || Trim(*bytes).empty() ||
        Trim(*bytes).find('\n') != std::string_view::npos) {
      throw Error({.what = Format("{} holds no class name", SafeId(member.name)),
                   .where = shard.path(),
                   .next = "a .cls file holds one class name or number"});
    }
    return SafeId(Trim(*bytes));
  }

  // What tells the shards apart: their names, or where two have the same one their paths from the folder that holds all
  // of them on, without the endings where these are not all that differs.
  std::vector<std::string> NamesOfShards() const {
    std::vector<std::string> names, inside, whole;
    std::string common = shards_[0]->path();
    for (const auto& shard : shards_) {
      while (!shard->path().starts_with(common) || (!common.empty() && common.back() != '/')) {
        common.pop_back();
        common.erase(common.rfind('/') + 1);  // npos + 1 is 0
      }
    }
    for (const auto& shard : shards_) {
      const Path path(shard->path().substr(common.size()));
      names.push_back(path.stem().string());
      inside.push_back((path.parent_path() / path.stem()).string());
      whole.push_back(path.string());
    }
    const auto differ = [](const std::vector<std::string>& all) {
      return std::unordered_set<std::string_view>(all.begin(), all.end()).size() == all.size();
    };
    return differ(names) ? names : differ(inside) ? inside : whole;
  }

  // Members of one name in several shards: the shard's name goes before all of them.
  void NameMembersApart() {
    std::unordered_set<std::string_view> known;
    bool apart = true;
    for (const SourceItem& item : items_) apart = known.insert(item.id).second && apart;
    if (apart) return;
    known.clear();
    const std::vector<std::string> names = NamesOfShards();
    for (size_t i = 0; i < items_.size(); ++i)
      items_[i].id = SafeId(Format("{}/{}", names[places_[i].shard], items_[i].id));
  }

  bool has_classes_ = false;  // some shard holds a .cls file
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<SourceItem> items_;
  std::vector<Place> places_;
  mutable std::once_flag fingerprint_once_;
  mutable std::string fingerprint_;
};

}  // namespace

std::vector<std::string> PicturesOfShard(const Path& shard) {
  std::vector<std::string> names;
  std::map<std::string, int64_t> ignored;
  for (TarMember& member : PicturesAmong(Shard(shard.string(), /*keep_open=*/true).Index(), ignored))
    names.push_back(std::move(member.name));
  return names;
}

std::shared_ptr<const ImageSource> OpenShards(const std::string& spec) { return std::make_shared<TarSource>(spec); }

}  // namespace genview
