// Memory while weights are read and put in another order. glibc learns from the first large block that is freed to take
// the next ones from one heap, and holes in it stay the process's: a ViT-H of 1.3 GB in bf16 then took 2.1 GB on its
// way.
//
//   const LoadingMemory loading;            // for as long as weights are read, converted and packed
//
// Process-wide. While any is alive, a block of a megabyte or more is pages of its own, which go back when it is freed.
#pragma once

namespace genview {

class LoadingMemory {
 public:
  LoadingMemory();
  ~LoadingMemory();  // after the last one, large blocks come from the heap again: a step that frees them needs them
                     // soon
  LoadingMemory(const LoadingMemory&) = delete;
  LoadingMemory& operator=(const LoadingMemory&) = delete;
};

}  // namespace genview
