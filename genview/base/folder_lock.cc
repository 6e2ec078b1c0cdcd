#include "genview/base/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>

#include "genview/base/error.h"
#include "genview/base/text.h"

namespace genview {

FolderLock::FolderLock(const Path& folder) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);  // who writes into it reports what is wrong with it
  descriptor_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor_ < 0 || ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  ::close(descriptor_);
  throw Error({.what = "another genview is working on this folder",
               .where = folder.string(),
               .next = "wait for it, or give another --out"});
}

FolderLock::~FolderLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

// A name that SweepPartFiles knows, and no process writes under: a killed one's goes with its other part files.
FileTurn::FileTurn(const Path& file) : lock_(file.parent_path() / Format(".{}.turn.0.part", file.filename().string())) {
  std::error_code code;
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), code);
  while (true) {
    descriptor_ = ::open(lock_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor_ < 0) return;  // who writes the file reports what is wrong with the folder
    while (::flock(descriptor_, LOCK_EX) != 0 && errno == EINTR) {
    }
    struct stat held{}, there{};
    if (::fstat(descriptor_, &held) != 0) return;
    if (::stat(lock_.c_str(), &there) == 0 && held.st_dev == there.st_dev && held.st_ino == there.st_ino) return;
    ::close(descriptor_);  // it was removed by the one before
  }
}

FileTurn::~FileTurn() {
  if (descriptor_ < 0) return;
  ::unlink(lock_.c_str());  // while it is held: who waits for it looks for another
  ::close(descriptor_);
}

}  // namespace genview
