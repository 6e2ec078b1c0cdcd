// What a self-supervised method is: two views of N pictures in, one loss per pair out.
//
//   auto method = MakeMethod({.kind = MethodKind::kMocoV2}, backbone_config, Seed(0).With("init"));
//   SetRequiresGrad(method->Weights(), true);
//   Tensor loss = (weight * method->PairLoss(view1, view2)).mean();      // weight [N], or none
//   loss.backward(); optimizer->Step(lr); ZeroGrad(method->Weights());
//   method->AfterStep(step, total_steps);                                // queue, momentum encoder
//
// Adding a method: one file pair beside this one, one line in EnumNames and in MakeMethod, one test, one recipe.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "genview/models/backbone.h"

namespace genview {

enum class MethodKind { kMocoV2, kSimClr, kSimSiam, kByol, kSwav, kMocoV3, kMultiPositive };

template <>
struct EnumNames<MethodKind> {
  static constexpr std::pair<MethodKind, const char*> kNames[] = {{MethodKind::kMocoV2, "moco-v2"},
                                                                  {MethodKind::kSimClr, "simclr"},
                                                                  {MethodKind::kSimSiam, "simsiam"},
                                                                  {MethodKind::kByol, "byol"},
                                                                  {MethodKind::kSwav, "swav"},
                                                                  {MethodKind::kMocoV3, "moco-v3"},
                                                                  {MethodKind::kMultiPositive, "multi-positive"}};
};

struct SwavConfig {
  int64_t prototypes = 3000;
  double epsilon = 0.05;     // of the assignment: smaller = harder
  int64_t iterations = 3;    // of Sinkhorn-Knopp
  int64_t frozen_steps = 0;  // updates before the prototypes begin to move
  int64_t queue = 0;         // features of earlier batches kept per view, that take part in the assignment
  int64_t queue_from_step = 0;
};

// 0 for a width: what the original has, see the method's header.
struct MethodConfig {
  MethodKind kind = MethodKind::kMocoV2;
  double temperature = 0.2;
  int64_t queue = 65536;           // moco-v2: negatives kept; a multiple of the batch
  double momentum = 0.999;         // moco-v2, byol, moco-v3: of the averaged encoder
  double final_momentum = 0;       // that it rises to along a half cosine; 0: moco-v2 stays, byol and moco-v3 rise to 1
  bool symmetric = false;          // moco-v2: both views are queries, each view's keys have a queue
  int64_t hidden = 0, output = 0;  // widths of the projector
  int64_t predictor = 0;           // simsiam, byol, moco-v3: width of its hidden layer
  SwavConfig swav{};
};

class Method {
 public:
  virtual ~Method() = default;

  // view1, view2: [N,3,H,W] -> [N]. With gradient accumulation it is called several times before one AfterStep: once
  // for each part of the batch, which the processes of a job share. So it leaves nothing behind but gradients, running
  // statistics of batch norms and what it hands to Leave.
  virtual Tensor PairLoss(const Tensor& view1, const Tensor& view2) = 0;
  // With further views of the same pictures, each [N,3,s,s]: for methods that have a use for them (small crops: swav;
  // of the size of the two: multi-positive).
  virtual Tensor MultiViewLoss(const Tensor& view1, const Tensor& view2, const std::vector<Tensor>& more);
  // Where keys may be made apart from the loss, so that their norms see other pictures than the queries' (ShuffleBN):
  // the views that they are made of, 0 for view1 and 1 for view2. PairLoss is then LossWithKeys of what Key makes of
  // each of these views.
  virtual std::vector<int> KeyViews() const { return {}; }
  virtual Tensor Key(const Tensor& view) const;  // [N,3,H,W] -> [N,D], without gradient
  virtual Tensor LossWithKeys(const Tensor& view1, const Tensor& view2, const std::vector<Tensor>& keys);
  // After the optimiser's update number `step` (from 0) of `total_steps`.
  virtual void AfterStep(int64_t /*step*/, int64_t /*total_steps*/) {}

  // What is trained, with its running statistics: `encoder.*`, `projector.*`, `predictor.*`. The tensors stay the same
  // objects for good.
  virtual WeightList Weights() = 0;
  // What else a resume needs (never trained): momentum networks, queue.
  virtual WeightList Extra() { return {}; }
  virtual std::shared_ptr<Backbone> encoder() = 0;

  // The projections of the first views of the latest PairLoss, [N,D], detached: what MeasureSpread looks at.
  const Tensor& projections() const { return projections_; }

  // What the parts since the last AfterStep have left for it, a tensor each, in the order of the parts. A trainer that
  // shares the parts with other processes puts those of all in the place of its own.
  std::vector<Tensor>& left() { return left_; }

 protected:
  void Keep(const Tensor& projections) { projections_ = projections.detach(); }
  // For AfterStep: keys, say, that go into a queue. Once in a PairLoss at most, of one shape in all parts.
  void Leave(const Tensor& rows) { left_.push_back(rows.detach()); }
  std::vector<Tensor> TakeLeft() { return std::exchange(left_, {}); }

 private:
  Tensor projections_;
  std::vector<Tensor> left_;
};

// Weights initialised from `seed`, laid out channels-last. Throws UsageError for a backbone that there is not; that a
// queue fits the batch is seen by MoCo v2's AfterStep, which throws it, too.
std::unique_ptr<Method> MakeMethod(const MethodConfig& config, const BackboneConfig& backbone, Seed seed);

}  // namespace genview
