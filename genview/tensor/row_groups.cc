#include "genview/tensor/row_groups.h"

#include <algorithm>

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

namespace genview {

int64_t EvenGroup(int64_t rows, int64_t most) {
  const int64_t pairs = std::max<int64_t>(1, GroupCount(rows, 2 * most));
  return std::max<int64_t>(1, GroupCount(rows, 2 * pairs));
}

void ForEachRowGroup(int64_t rows, int64_t group, at::Device device,
                     const std::function<void(int64_t first, int64_t last, int64_t index)>& work) {
  if (!device.is_cpu()) return work(0, rows, 0);
  const int64_t groups = GroupCount(rows, group);
  const auto one = [&](int64_t index) { work(index * group, std::min(rows, (index + 1) * group), index); };
  if (groups < at::get_num_threads() || at::get_num_threads() == 1 || at::in_parallel_region()) {
    for (int64_t index = 0; index < groups; ++index) one(index);
    return;
  }
  at::parallel_for(0, groups, 1, [&](int64_t first, int64_t last) {
    const c10::InferenceMode guard;
    for (int64_t index = first; index < last; ++index) one(index);
  });
}

}  // namespace genview
