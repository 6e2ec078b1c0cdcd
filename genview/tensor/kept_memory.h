// Memory of large tensors that is kept for the next ones. A training step frees all that it has allocated, and without
// this the system takes the pages back and clears each of them anew in the next step: a fifth of a SimCLR step's time.
//
//   const KeptMemory kept;                  // for as long as steps follow each other
//
// Process-wide, as LibTorch's allocator is: while any KeptMemory is alive, tensors (and oneDNN's buffers) in main
// memory of a megabyte or more come from one range of addresses, each at the lowest place where it fits, so that what
// is needed at once lies together. Tensors may outlive it. Where the system gives no such range nothing changes.
#pragma once

namespace genview {

class KeptMemory {
 public:
  KeptMemory();
  ~KeptMemory();  // the last one gives free pages back to the system
  KeptMemory(const KeptMemory&) = delete;
  KeptMemory& operator=(const KeptMemory&) = delete;
};

}  // namespace genview
