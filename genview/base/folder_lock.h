// One process at a time works on a folder.
//
//   const FolderLock lock(out);   // throws Error when another process holds it; let go when destroyed or killed
#pragma once

#include "genview/base/files.h"

namespace genview {

// The lock is the folder's own (flock): no file is left behind. On file systems without such locks it locks nothing.
class FolderLock {
 public:
  explicit FolderLock(const Path& folder);  // makes the folder if needed
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace genview
