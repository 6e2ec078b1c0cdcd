// Against lightly 1.6 and torch 2.11: see tests/golden/make_methods.py.
#include "genview/ssl/byol.h"
#include "genview/ssl/losses.h"
#include "genview/ssl/moco_v3.h"
#include "genview/ssl/swav.h"
#include "genview/ssl/training_golden.h"

namespace genview {
namespace {

Tensor Leaf(const Tensor& tensor) { return tensor.clone().set_requires_grad(true); }

TEST(LossesGolden, SwappedPrediction) {
  const WeightMap golden = Golden("methods/losses");
  const Tensor a = Leaf(golden.At("scores1")), b = Leaf(golden.At("scores2"));
  EXPECT_CLOSE(SinkhornAssignment(a, 0.05, 3), golden.At("assignment"), 1e-5);
  const Tensor loss = SwappedPrediction(a, b, 0.1, 0.05, 3);
  EXPECT_CLOSE(loss, golden.At("swapped"), 1e-5);
  EXPECT_CLOSE(loss.mean(), golden.At("swapped.mean"), 1e-5);
  loss.mean().backward();
  EXPECT_CLOSE(a.grad(), golden.At("swapped.grad1"), 1e-4);
  EXPECT_CLOSE(b.grad(), golden.At("swapped.grad2"), 1e-4);
  const Tensor again = Leaf(golden.At("scores1"));
  (SwappedPrediction(again, golden.At("scores2"), 0.1, 0.05, 3) * golden.At("weights")).mean().backward();
  EXPECT_CLOSE(again.grad(), golden.At("swapped.weighted_grad1"), 1e-4);
}

TEST(LossesGolden, MocoV3) {
  const WeightMap golden = Golden("methods/losses");
  const Tensor q1 = Leaf(golden.At("q1")), q2 = Leaf(golden.At("q2")), k1 = Leaf(golden.At("k1")),
               k2 = Leaf(golden.At("k2"));
  const Tensor loss = MocoV3Loss(q1, q2, k1, k2, 0.2);
  EXPECT_CLOSE(loss, golden.At("moco_v3"), 1e-5);
  loss.mean().backward();
  EXPECT_CLOSE(q1.grad(), golden.At("moco_v3.grad_q1"), 1e-4);
  EXPECT_CLOSE(q2.grad(), golden.At("moco_v3.grad_q2"), 1e-4);
  EXPECT_CLOSE(k1.grad(), golden.At("moco_v3.grad_k1"), 1e-4);
  EXPECT_CLOSE(k2.grad(), golden.At("moco_v3.grad_k2"), 1e-4);
}

TEST(MethodsGolden, ByolThreeSteps) {
  Byol method({.kind = MethodKind::kByol, .momentum = 0.9, .hidden = 12, .output = 6, .predictor = 10}, TinyResnet(),
              Seed(0));
  Training training("methods/byol", method, "methods/start");
  training.Run(0.05, 0.05);
  training.ExpectEnd(1e-5);
}

TEST(MethodsGolden, MocoV3ThreeSteps) {
  const MethodConfig config{
      .kind = MethodKind::kMocoV3, .temperature = 1, .momentum = 0.9, .hidden = 12, .output = 6, .predictor = 10};
  MocoV3 method(config, TinyResnet(), Seed(0));
  Training training("methods/moco_v3", method, "methods/start");
  training.Run(0.05, 0.05);
  training.ExpectEnd(1e-5);
}

TEST(MethodsGolden, MocoV3OfAVitThreeSteps) {
  const MethodConfig config{
      .kind = MethodKind::kMocoV3, .temperature = 0.2, .momentum = 0.9, .hidden = 12, .output = 6, .predictor = 10};
  BackboneConfig backbone;
  backbone.type = "vit-tiny";
  backbone.width = 1.0 / 16;
  backbone.image_size = 8;
  backbone.patch_size = 4;
  backbone.layers = 2;
  backbone.positions = VitPositions::kSinCos;
  backbone.frozen_patch = true;
  MocoV3 method(config, backbone, Seed(0));
  Training training("methods/moco_v3_vit", method, "methods/start");
  training.Run(0.05, 0.05);
  training.ExpectEnd(1e-5);
}

TEST(MethodsGolden, SwavThreeSteps) {
  const MethodConfig config{.kind = MethodKind::kSwav,
                            .temperature = 0.1,
                            .hidden = 12,
                            .output = 6,
                            .swav = {.prototypes = 7, .frozen_steps = 1, .queue = 16}};
  Swav method(config, TinyResnet(), Seed(0));
  Training training("methods/swav", method, "methods/start");
  training.Run(0.05, 0.05);
  training.ExpectEnd(1e-5);
}

TEST(LossesGolden, MultiPositive) {
  const WeightMap golden = Golden("methods/multi_positive");
  const Tensor z = Leaf(golden.At("z")), again = Leaf(golden.At("z"));
  const Tensor loss = MultiPositiveLoss(z, 0.2);
  EXPECT_CLOSE(loss, golden.At("loss"), 1e-5);
  loss.mean().backward();
  EXPECT_CLOSE(z.grad(), golden.At("grad"), 1e-4);
  (MultiPositiveLoss(again, 0.2) * golden.At("weights")).mean().backward();
  EXPECT_CLOSE(again.grad(), golden.At("weighted_grad"), 1e-4);
}

}  // namespace
}  // namespace genview
