#include "genview/base/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>
#include <set>

#include "genview/base/error.h"
#include "genview/base/hash.h"
#include "genview/base/text.h"

namespace genview {
namespace {

[[noreturn]] void Fail(std::string what, const Path& path, int code) {
  std::string next = "check that the path is right and that you may use it";
  if (code == ENOSPC || code == EDQUOT) next = "free some space and run the same command again: it goes on from here";
  if (code == ENOENT) next = "check the path";
  throw Error({.what = Format("{}: {}", what, std::strerror(code)), .where = path.string(), .next = std::move(next)});
}

void WriteAll(int descriptor, std::string_view bytes, const Path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      Fail("cannot write", path, errno);
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

void SyncFolder(const Path& folder) {
  const int descriptor = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;  // the rename itself has succeeded; some file systems do not open folders
  ::fsync(descriptor);
  ::close(descriptor);
}

// Whether the path still names the file that is open.
bool IsStill(const Path& path, int descriptor) {
  struct stat held{}, there{};
  return ::fstat(descriptor, &held) == 0 && ::stat(path.c_str(), &there) == 0 && held.st_dev == there.st_dev &&
         held.st_ino == there.st_ino;
}

// Opens or makes the file and holds it against all others, on this machine or another, for as long as the descriptor or
// a copy of it is open. -1 with EWOULDBLOCK where it is held. A file system without locks is taken as it is.
int OpenHeld(const Path& path) {
  while (true) {
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor < 0) return descriptor;
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(descriptor);
      errno = EWOULDBLOCK;
      return -1;
    }
    if (IsStill(path, descriptor)) return descriptor;
    ::close(descriptor);  // renamed or removed before it was held
  }
}

// Closes it and renames the file, which nobody else holds in between; 0 or why not.
int CloseAndRename(int descriptor, const Path& from, const Path& to) {
  const int holder = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  int code = ::close(descriptor) == 0 ? 0 : errno;
  if (code == 0 && ::rename(from.c_str(), to.c_str()) != 0) code = errno;
  if (holder >= 0) ::close(holder);
  return code;
}

[[noreturn]] void FailToHold(const Path& path) {
  if (errno != EWOULDBLOCK) Fail("cannot open the file", path, errno);
  throw Error({.what = "another genview is writing this file",
               .where = path.string(),
               .next = "wait for it, then give the same command again"});
}

void MakeFolder(const Path& folder) {
  if (folder.empty()) return;
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  if (code) Fail("cannot make the folder", folder, code.value());
}

}  // namespace

void RefuseToReplace(const Path& path) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (!std::filesystem::exists(status) || std::filesystem::is_regular_file(status)) return;
  const bool folder = std::filesystem::is_directory(status);
  throw Error({.what = folder ? "a folder has this name" : "a device or a pipe has this name",
               .where = path.string(),
               .next = "give the name of a file that is to be written"});
}

void RefuseToReplaceInput(const Path& path, const std::vector<Path>& inputs, std::string_view option) {
  for (const Path& input : inputs) {
    std::error_code code;
    if (!std::filesystem::equivalent(path, input, code)) continue;
    throw UsageError({.what = "the file that is read would be replaced",
                      .where = path.string(),
                      .next = Format("give another {}", option)});
  }
}

std::optional<FileIdentity> IdentityOf(const Path& path) {
  struct ::stat status{};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return FileIdentity{status.st_dev, status.st_ino};
}

static std::optional<int64_t> TimeOf(const Path& path, timespec stat::* member) {
  struct ::stat status{};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return static_cast<int64_t>((status.*member).tv_sec) * 1'000'000'000 + (status.*member).tv_nsec;
}

std::optional<int64_t> FileWrittenAt(const Path& path) { return TimeOf(path, &stat::st_mtim); }

std::optional<int64_t> FileChangedAt(const Path& path) { return TimeOf(path, &stat::st_ctim); }

Path HiddenBeside(const Path& path, std::string_view ending) {
  std::string name = path.filename().string();
  if (name.size() > 200) name = Fingerprint(name);
  return path.parent_path() / Format(".{}.{}", name, ending);
}

AtomicFile::AtomicFile(Path path) : path_(std::move(path)) {
  RefuseToReplace(path_);
  MakeFolder(path_.parent_path());
  aside_ = HiddenBeside(path_, Format("{}.part", ::getpid()));
  descriptor_ = OpenHeld(aside_);
  for (int i = 0; descriptor_ < 0 && errno == EWOULDBLOCK && i < 50; ++i) {  // somebody's sweep looks at it
    ::usleep(2000);
    descriptor_ = OpenHeld(aside_);
  }
  if (descriptor_ < 0) FailToHold(path_);
  if (::ftruncate(descriptor_, 0) != 0) Fail("cannot write", path_, errno);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(aside_.c_str());
}

void AtomicFile::Write(std::string_view bytes) { WriteAll(descriptor_, bytes, path_); }

void AtomicFile::Commit(bool sync) {
  if (sync && ::fsync(descriptor_) != 0) Fail("cannot write to the disk", path_, errno);
  const int descriptor = std::exchange(descriptor_, -1);
  if (const int code = CloseAndRename(descriptor, aside_, path_); code != 0) {
    ::unlink(aside_.c_str());
    Fail("cannot put the file in its place", path_, code);
  }
  if (sync) SyncFolder(path_.parent_path());
}

void WriteFileUnsynced(const Path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.Write(bytes);
  file.Commit(/*sync=*/false);
}

void SyncFileSystem(const Path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) Fail("cannot open", path, errno);
  const int failed = ::syncfs(descriptor) != 0 ? errno : 0;
  ::close(descriptor);
  if (failed != 0) Fail("cannot write to the disk", path, failed);
}

void WriteFile(const Path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.Write(bytes);
  file.Commit();
}

std::string ReadFile(const Path& path, uint64_t limit_bytes) {
  const MappedFile mapped(path);
  if (mapped.size() > limit_bytes) {
    throw Error({.what = Format("the file has {}, more than the {} that are read here", HumanBytes(mapped.size()),
                                HumanBytes(limit_bytes)),
                 .where = path.string(),
                 .next = "check that this is the file you mean"});
  }
  return std::string(mapped.text());
}

int SweepPartFiles(const Path& folder) {
  int removed = 0;
  std::error_code code;
  for (std::filesystem::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    const std::string name = it->path().filename().string();
    if (name.size() < 7 || name.front() != '.' || !name.ends_with(".part")) continue;
    int64_t pid = 0;
    const auto parts = Split(name, '.');
    if (parts.size() < 4 || !ParseInt(parts[parts.size() - 2], pid)) continue;
    // Who writes it holds it, here or on another machine; a killed process holds nothing.
    const int descriptor = ::open(it->path().c_str(), O_RDWR | O_CLOEXEC);
    if (descriptor < 0) continue;
    const bool free = ::flock(descriptor, LOCK_EX | LOCK_NB) == 0 && IsStill(it->path(), descriptor);
    if (free && ::unlink(it->path().c_str()) == 0) ++removed;
    ::close(descriptor);
  }
  return removed;
}

void SweepPartFilesBeside(const std::vector<Path>& files) {
  std::set<Path> folders;
  for (const Path& file : files) folders.insert(file.parent_path());
  for (const Path& folder : folders) SweepPartFiles(folder.empty() ? Path(".") : folder);
}

LineLog::LineLog(const Path& path) : path_(path) {
  MakeFolder(path.parent_path());
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) Fail("cannot open the file", path, errno);
  off_t end = ::lseek(descriptor_, 0, SEEK_END);
  // A line torn by a kill has no newline: cut back to the last one.
  char buffer[4096];
  while (end > 0) {
    const off_t begin = end > static_cast<off_t>(sizeof buffer) ? end - static_cast<off_t>(sizeof buffer) : 0;
    const ssize_t count = ::pread(descriptor_, buffer, static_cast<size_t>(end - begin), begin);
    if (count <= 0) break;
    ssize_t i = count;
    while (i > 0 && buffer[i - 1] != '\n') --i;
    end = begin + i;
    if (i > 0) break;
  }
  if (::ftruncate(descriptor_, end) != 0) Fail("cannot write", path, errno);
  ::lseek(descriptor_, end, SEEK_SET);
}

LineLog::~LineLog() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void LineLog::Append(std::string_view line) {
  std::string whole(line);
  whole += '\n';
  WriteAll(descriptor_, whole, path_);
}

void LineLog::Sync() {
  if (::fdatasync(descriptor_) != 0) Fail("cannot write to the disk", path_, errno);
}

GrowingFile::GrowingFile(const Path& path) : path_(path) {
  MakeFolder(path.parent_path());
  descriptor_ = OpenHeld(path);
  if (descriptor_ < 0) FailToHold(path);
}

std::unique_ptr<GrowingFile> GrowingFile::OpenUnlessHeld(const Path& path) {
  MakeFolder(path.parent_path());
  const int descriptor = OpenHeld(path);
  if (descriptor < 0 && errno != EWOULDBLOCK) FailToHold(path);
  return descriptor < 0 ? nullptr : std::unique_ptr<GrowingFile>(new GrowingFile(path, descriptor));
}

GrowingFile::~GrowingFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

uint64_t GrowingFile::size() const {
  struct stat info{};
  if (::fstat(descriptor_, &info) != 0) Fail("cannot read the size", path_, errno);
  return static_cast<uint64_t>(info.st_size);
}

void GrowingFile::Resize(uint64_t size) {
  if (::ftruncate(descriptor_, static_cast<off_t>(size)) != 0) Fail("cannot write", path_, errno);
}

void GrowingFile::Append(std::string_view bytes) {
  if (::lseek(descriptor_, 0, SEEK_END) < 0) Fail("cannot write", path_, errno);
  WriteAll(descriptor_, bytes, path_);
}

void GrowingFile::WriteAt(uint64_t offset, std::string_view bytes) {
  if (::lseek(descriptor_, static_cast<off_t>(offset), SEEK_SET) < 0) Fail("cannot write", path_, errno);
  WriteAll(descriptor_, bytes, path_);
}

void GrowingFile::Sync() {
  if (::fdatasync(descriptor_) != 0) Fail("cannot write to the disk", path_, errno);
}

void GrowingFile::MoveTo(const Path& path) {
  RefuseToReplace(path);
  if (::fsync(descriptor_) != 0) Fail("cannot write to the disk", path, errno);
  const int descriptor = std::exchange(descriptor_, -1);
  if (const int code = CloseAndRename(descriptor, path_, path); code != 0)
    Fail("cannot put the file in its place", path, code);
  SyncFolder(path.parent_path());
}

LineWalk::LineWalk(std::string_view text) : rest_(text) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";  // that some editors begin a file with
  if (rest_.starts_with(kByteOrderMark)) rest_.remove_prefix(kByteOrderMark.size());
}

bool LineWalk::Next() {
  if (rest_.empty()) return false;
  const size_t end = rest_.find('\n');
  torn_ = end == std::string_view::npos;
  line_ = rest_.substr(0, end);
  if (!line_.empty() && line_.back() == '\r') line_.remove_suffix(1);
  rest_.remove_prefix(torn_ ? rest_.size() : end + 1);
  ++number_;
  return true;
}

std::vector<std::string> ReadLines(const Path& path, bool keep_torn) {
  const MappedFile mapped(path);
  std::vector<std::string> lines;
  for (LineWalk walk(mapped.text()); walk.Next();) {
    if (keep_torn || !walk.torn()) lines.emplace_back(walk.line());
  }
  return lines;
}

MappedFile::MappedFile(const Path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe is not waited for
  if (descriptor < 0) Fail("cannot open the file", path, errno);
  struct stat info{};
  if (::fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    const int code = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
    ::close(descriptor);
    Fail("cannot read the file", path, code);
  }
  size_ = static_cast<uint64_t>(info.st_size);
  if (size_ > 0) {
    void* memory = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (memory == MAP_FAILED) {
      const int code = errno;
      ::close(descriptor);
      Fail("cannot map the file", path, code);
    }
    data_ = static_cast<const uint8_t*>(memory);
  } else {
    // Files of /proc and /sys say that they are empty, and cannot be mapped: they are read.
    char buffer[4096];
    while (owned_.size() <= (size_t{64} << 20)) {
      const ssize_t count = ::read(descriptor, buffer, sizeof buffer);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) {
        const int code = errno;
        ::close(descriptor);
        Fail("cannot read the file", path, code);
      }
      if (count == 0) break;
      owned_.append(buffer, static_cast<size_t>(count));
    }
    if (!owned_.empty()) {
      data_ = reinterpret_cast<const uint8_t*>(owned_.data());
      size_ = owned_.size();
    }
  }
  ::close(descriptor);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr && owned_.empty()) ::munmap(const_cast<uint8_t*>(data_), size_);
}

}  // namespace genview
