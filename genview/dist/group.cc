#include "genview/dist/group.h"

#include <algorithm>

namespace genview {

Group& Alone() {
  static Group one;  // without state
  return one;
}

Share ShareOf(int64_t rank, int64_t size, int64_t begin, int64_t total, int64_t unit) {
  const int64_t units = std::max<int64_t>(0, (total - begin + unit - 1) / unit);
  const auto edge = [&](int64_t r) { return std::min(total, begin + units * r / size * unit); };
  return {.begin = std::max(begin, edge(rank)), .end = std::max(begin, edge(rank + 1))};
}

Share ShareOf(const Group& group, int64_t begin, int64_t total, int64_t unit) {
  return ShareOf(group.rank(), group.size(), begin, total, unit);
}

int64_t BeginOfUnit(int64_t next, int64_t total, int64_t unit) { return next >= total ? total : next / unit * unit; }

}  // namespace genview
