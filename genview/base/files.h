// Files that appear whole or not at all, and files that are read without copying.
//
//   WriteFile(folder / "result.json", text);          // aside, fsync, rename, fsync of the folder
//
//   AtomicFile out(path);                              // the same, in pieces
//   out.Write(bytes); out.Commit();                    // without Commit nothing appears
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace genview {

using Path = std::filesystem::path;

// Throws Error where something other than a file has this name: a folder, a device, a pipe.
void RefuseToReplace(const Path& path);

// Throws UsageError where `path` is one of `inputs`: what is read would be lost. `option`: that names the path.
void RefuseToReplaceInput(const Path& path, const std::vector<Path>& inputs, std::string_view option = "--out");

// The same for all paths to a file, links included. Nothing where there is no file.
using FileIdentity = std::pair<uint64_t, uint64_t>;
std::optional<FileIdentity> IdentityOf(const Path& path);

// Nanoseconds since 1970: when a file's contents were written, and when it was last changed in any way, a new name or
// place included. Nothing where there is no file.
std::optional<int64_t> FileWrittenAt(const Path& path);
std::optional<int64_t> FileChangedAt(const Path& path);

// FOLDER/.NAME.ENDING, for what stands beside a file while it is made. A long name, which may be all that the file
// system allows, is replaced by its digest.
Path HiddenBeside(const Path& path, std::string_view ending);

// A file that appears under its name at Commit and not before. Throws Error (with the reason: no space, no right).
class AtomicFile {
 public:
  explicit AtomicFile(Path path);  // makes the folder if needed
  ~AtomicFile();                   // without Commit: removes what was written
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void Write(std::string_view bytes);
  void Commit(bool sync = true);

 private:
  Path path_, aside_;
  int descriptor_ = -1;
};

void WriteFile(const Path& path, std::string_view bytes);
// The same without waiting for the disk: whole or absent after a kill, not after a power cut. For many small files that
// are compared when the run goes on, with one SyncFileSystem at the end.
void WriteFileUnsynced(const Path& path, std::string_view bytes);
void SyncFileSystem(const Path& path);  // of this file or folder: everything written so far is on the disk
std::string ReadFile(const Path& path, uint64_t limit_bytes = uint64_t{1} << 30);  // throws Error

// Removes what a killed process left beside final names in `folder` (files `.NAME.PID.part` that nobody holds); returns
// how many.
int SweepPartFiles(const Path& folder);
// The same in every folder that holds one of `files`, which need not be there.
void SweepPartFilesBeside(const std::vector<Path>& files);

// Appends whole lines, each flushed to the system before Append returns. Opening cuts a torn last line away.
class LineLog {
 public:
  explicit LineLog(const Path& path);
  ~LineLog();
  LineLog(const LineLog&) = delete;
  LineLog& operator=(const LineLog&) = delete;
  void Append(std::string_view line);  // without its newline
  void Sync();                         // to the disk

 private:
  Path path_;
  int descriptor_ = -1;
};

// A file that grows over several runs under an aside name, and gets its own name when it is whole. Throws Error where
// another process has it open.
class GrowingFile {
 public:
  explicit GrowingFile(const Path& path);  // what is there stays
  // Null in place of the Error.
  static std::unique_ptr<GrowingFile> OpenUnlessHeld(const Path& path);
  ~GrowingFile();
  GrowingFile(const GrowingFile&) = delete;
  GrowingFile& operator=(const GrowingFile&) = delete;

  uint64_t size() const;
  void Resize(uint64_t size);  // cuts, or adds zeros
  void Append(std::string_view bytes);
  void WriteAt(uint64_t offset, std::string_view bytes);
  void Sync();                    // to the disk
  void MoveTo(const Path& path);  // synced and renamed; nothing more can be written

 private:
  GrowingFile(Path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}

  Path path_;
  int descriptor_ = -1;
};

// The lines of a text one after the other, as views into it: without their line ends, and without a byte order mark
// before the first.
//
//   for (LineWalk lines(file.text()); lines.Next();) Use(lines.line(), lines.number());
class LineWalk {
 public:
  explicit LineWalk(std::string_view text);

  bool Next();  // false: there are no more
  std::string_view line() const { return line_; }
  int64_t number() const { return number_; }  // from 1 on
  bool torn() const { return torn_; }         // it is the last, and has no line end

 private:
  std::string_view rest_, line_;
  int64_t number_ = 0;
  bool torn_ = false;
};

// The lines of a text file without their line ends; a last line without newline counts only if `keep_torn`.
std::vector<std::string> ReadLines(const Path& path, bool keep_torn = true);

// Read-only memory map. An empty file gives an empty view; of a file of /proc or /sys, which cannot be mapped, 64 MB
// are read. Throws Error.
class MappedFile {
 public:
  explicit MappedFile(const Path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  uint64_t size() const { return size_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  const uint8_t* data_ = nullptr;
  uint64_t size_ = 0;
  std::string owned_;  // the contents, where they cannot be mapped
};

}  // namespace genview
