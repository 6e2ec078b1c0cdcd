#include "genview/ssl/multi_positive.h"

#include "genview/ssl/losses.h"

namespace genview {

Tensor MultiPositive::MultiViewLoss(const Tensor& view1, const Tensor& view2, const std::vector<Tensor>& more) {
  std::vector<Tensor> views{view1, view2};
  views.insert(views.end(), more.begin(), more.end());
  const Tensor z = Project(views);
  return MultiPositiveLoss(z.view({static_cast<int64_t>(views.size()), view1.size(0), -1}), temperature());
}

}  // namespace genview
