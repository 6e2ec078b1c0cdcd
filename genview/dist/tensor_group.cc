#include "genview/dist/tensor_group.h"

#include <algorithm>

namespace genview {

TensorGroup& AloneWithTensors() {
  static TensorGroup one;  // without state
  return one;
}

std::vector<std::string> GatherTexts(TensorGroup& group, const std::string& mine) {
  const Tensor lengths = group.Gather(at::full({}, static_cast<int64_t>(mine.size()), at::kLong));
  const auto length_of = [&](int64_t r) { return static_cast<size_t>(lengths[r].item<int64_t>()); };
  Tensor bytes = at::zeros({std::max<int64_t>(1, lengths.max().item<int64_t>())}, at::kByte);
  std::copy(mine.begin(), mine.end(), static_cast<char*>(bytes.data_ptr()));
  const Tensor all = group.Gather(bytes);
  std::vector<std::string> texts;
  for (int64_t r = 0; r < group.size(); ++r)
    texts.emplace_back(static_cast<const char*>(all[r].const_data_ptr()), length_of(r));
  return texts;
}

}  // namespace genview
