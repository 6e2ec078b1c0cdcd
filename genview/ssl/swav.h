// SwAV (M. Caron et al., 2020): features are softly assigned to prototypes that the whole batch shares about equally,
// and each view's scores are to predict the assignment of the other. Both views go through the network as one batch, so
// its norms see 2N pictures.
#pragma once

#include <vector>

#include "genview/ssl/heads.h"
#include "genview/ssl/method.h"

namespace genview {

class Swav final : public Method {
 public:
  // Projector: hidden width 2048, 128 out, unless the config says otherwise.
  Swav(const MethodConfig& config, const BackboneConfig& backbone, Seed seed);

  // The assignments know no weights: a pair's weight scales its two cross-entropies. In a batch computed in parts each
  // part is assigned by itself.
  Tensor PairLoss(const Tensor& view1, const Tensor& view2) override { return MultiViewLoss(view1, view2, {}); }
  // The scores of small crops are to predict both assignments, too: each assignment's cross-entropies are averaged over
  // all other crops. They have a weight in common, that of their pair. Crops of one size go through the network
  // together.
  Tensor MultiViewLoss(const Tensor& view1, const Tensor& view2, const std::vector<Tensor>& more) override;
  // Brings the prototypes back to length 1 and puts the features of this step into the queue.
  void AfterStep(int64_t step, int64_t total_steps) override;
  WeightList Weights() override;
  WeightList Extra() override;
  std::shared_ptr<Backbone> encoder() override { return encoder_; }

 private:
  void NormalisePrototypes();
  // [N,K]: made of the scores of this batch and, once it is full, those of the queue of view `view`.
  Tensor Assign(const Tensor& scores, int64_t view) const;
  int64_t step() const { return steps_.item<int64_t>(); }

  MethodConfig config_;
  std::shared_ptr<Backbone> encoder_;
  Head projector_;
  LinearWeights prototypes_;  // [K,D], rows of length 1, no bias
  Tensor queue_;              // [2,Q,D], per view, newest first; undefined: none. Rows are 0 until they are filled
  Tensor steps_;              // [], int64: updates done, which decide about freezing and the queue
};

}  // namespace genview
