// One process at a time works on a folder, or changes a file.
//
//   const FolderLock lock(out);   // throws Error when another process holds it; let go when destroyed or killed
//   const FileTurn turn(file);    // waits for it instead
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

// For a small file that several commands read, change and write: who comes second waits for the first. Lets go when
// destroyed or killed, and leaves nothing beside the file; what a killed one left, SweepPartFiles removes.
class FileTurn {
 public:
  explicit FileTurn(const Path& file);  // makes the folder if needed
  ~FileTurn();
  FileTurn(const FileTurn&) = delete;
  FileTurn& operator=(const FileTurn&) = delete;

 private:
  Path lock_;  // ".NAME.turn.0.part"
  int descriptor_ = -1;
};

}  // namespace genview
