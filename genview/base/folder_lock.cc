#include "genview/base/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include <cerrno>

#include "genview/base/error.h"

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

}  // namespace genview
