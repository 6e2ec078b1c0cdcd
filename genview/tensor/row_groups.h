// Frozen models on the CPU, faster: a batch in groups of rows, several groups at once with one thread each. Small
// operations then never wait for each other's threads (a barrier per operation costs more than many of them, and on a
// shared machine far more), and what a group computes depends on its rows alone, not on the number of threads.
//
//   std::vector<Tensor> parts(GroupCount(n, 16));
//   ForEachRowGroup(n, 16, device, [&](int64_t first, int64_t last, int64_t group) { parts[group] = f(x.slice(0, first, last)); });
//   Tensor all = at::cat(parts);
#pragma once

#include <functional>

#include "genview/tensor/tensor.h"

namespace genview {

inline int64_t GroupCount(int64_t rows, int64_t group) { return (rows + group - 1) / group; }

// How many of `rows` make a group of at most `most`, so that groups come in pairs of one size and two threads have the
// same to do. Of the rows alone: what is computed depends on no machine.
int64_t EvenGroup(int64_t rows, int64_t most);

// Calls work(first, last, index) for rows first .. last-1 of every group. On the CPU, where there are at least as many
// groups as threads, groups run at once, each under an InferenceMode of its own and one thread wide; else one after the
// other, each over all threads. Modes of the calling thread other than InferenceMode (autocast) are work's to set.
// On a GPU there is one group. An exception of one group is thrown when all have ended.
void ForEachRowGroup(int64_t rows, int64_t group, at::Device device,
                     const std::function<void(int64_t first, int64_t last, int64_t index)>& work);

}  // namespace genview
