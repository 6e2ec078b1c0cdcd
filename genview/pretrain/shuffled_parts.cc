#include "genview/pretrain/shuffled_parts.h"

#include <algorithm>

#include "genview/base/error.h"

namespace genview {

ShuffledParts::ShuffledParts(const std::vector<int64_t>& order, int64_t parts, TensorGroup& together)
    : together_(together),
      parts_(parts),
      rows_(static_cast<int64_t>(order.size())),
      order_(at::tensor(order, at::kLong)) {
  GENVIEW_CHECK(parts > 0 && rows_ > 0 && rows_ % parts == 0, "rows that parts divide");
  const int64_t size = together.size(), rank = together.rank(), n = rows_ / parts;
  const auto owner = [&](int64_t row) { return row / n % size; };
  std::vector<int64_t> counts(static_cast<size_t>(size * size), 0);  // of rows from each process to each
  std::vector<std::vector<int64_t>> sent(static_cast<size_t>(size));
  std::vector<std::pair<int64_t, int64_t>> came;  // from whom, and which of its rows for this process
  for (int64_t i = 0; i < rows_; ++i) {
    const int64_t row = order[static_cast<size_t>(i)], from = owner(row), to = owner(i);
    int64_t& count = counts[static_cast<size_t>(from * size + to)];
    if (to == rank) came.emplace_back(from, count);
    if (from == rank) sent[static_cast<size_t>(to)].push_back(row / n / size * n + row % n);
    ++count;
  }
  width_ = *std::max_element(counts.begin(), counts.end());
  std::vector<int64_t> all_sent, taken;
  for (std::vector<int64_t>& rows : sent) {
    rows.resize(static_cast<size_t>(width_), 0);  // what fills up is not taken
    all_sent.insert(all_sent.end(), rows.begin(), rows.end());
  }
  for (const auto& [from, place] : came) taken.push_back(from * width_ + place);
  sent_ = at::tensor(all_sent, at::kLong);
  taken_ = at::tensor(taken, at::kLong);
}

std::vector<Tensor> ShuffledParts::Deal(const std::vector<Tensor>& own) const {
  const Tensor rows = at::cat(own);
  GENVIEW_CHECK(rows.size(0) == taken_.size(0), "all parts of this process");
  const Tensor sent = rows.index_select(0, sent_).unflatten(0, {together_.size(), width_});
  return together_.Exchange(sent).flatten(0, 1).index_select(0, taken_).split(rows_ / parts_);
}

Tensor ShuffledParts::Collect(const std::vector<Tensor>& own) const {
  const int64_t rounds = (parts_ + together_.size() - 1) / together_.size();
  std::vector<Tensor> made;
  for (const Tensor& part : own) made.push_back(part.to(at::kCPU, at::kFloat));
  while (static_cast<int64_t>(made.size()) < rounds)
    made.push_back(at::zeros_like(made[0]));                                           // no part in the last one
  const Tensor all = together_.Gather(at::stack(made)).transpose(0, 1).flatten(0, 2);  // [rounds W n,...]
  const Tensor shuffled = all.narrow(0, 0, rows_);
  Tensor result = at::empty_like(shuffled);
  result.index_copy_(0, order_, shuffled);
  return result.to(own[0].options());
}

}  // namespace genview
