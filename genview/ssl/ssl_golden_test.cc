// Against lightly 1.6 and torch 2.11: see tests/golden/make_ssl.py.
#include "genview/ssl/heads.h"
#include "genview/ssl/losses.h"
#include "genview/ssl/moco_v2.h"
#include "genview/ssl/simsiam.h"
#include "genview/ssl/training_golden.h"
#include "tests/golden/compare.h"

namespace genview {
namespace {

Tensor Leaf(const Tensor& tensor) { return tensor.clone().set_requires_grad(true); }

TEST(LossesGolden, InfoNce) {
  const WeightMap golden = Golden("ssl/losses");
  const Tensor a = Leaf(golden.At("a")), b = Leaf(golden.At("b"));
  const Tensor loss = InfoNce(a, b, golden.At("queue"), 0.2);
  EXPECT_CLOSE(loss, golden.At("info_nce"), 1e-5);
  EXPECT_CLOSE(loss.mean(), golden.At("info_nce.mean"), 1e-5);
  loss.mean().backward();
  EXPECT_CLOSE(a.grad(), golden.At("info_nce.grad_a"), 1e-4);
  const Tensor again = Leaf(golden.At("a"));
  (InfoNce(again, golden.At("b"), golden.At("queue"), 0.2) * golden.At("weights")).mean().backward();
  EXPECT_CLOSE(again.grad(), golden.At("info_nce.weighted_grad_a"), 1e-4);
}

TEST(LossesGolden, NtXent) {
  const WeightMap golden = Golden("ssl/losses");
  const Tensor a = Leaf(golden.At("a")), b = Leaf(golden.At("b"));
  const Tensor loss = NtXent(a, b, 0.1);
  EXPECT_CLOSE(loss, golden.At("nt_xent"), 1e-5);
  EXPECT_CLOSE(loss.mean(), golden.At("nt_xent.mean"), 1e-5);
  loss.mean().backward();
  EXPECT_CLOSE(a.grad(), golden.At("nt_xent.grad_a"), 1e-4);
  EXPECT_CLOSE(b.grad(), golden.At("nt_xent.grad_b"), 1e-4);
}

TEST(LossesGolden, NegativeCosine) {
  const WeightMap golden = Golden("ssl/losses");
  const Tensor a = Leaf(golden.At("a")), b = Leaf(golden.At("b"));
  const Tensor loss = NegativeCosine(a, b);
  EXPECT_CLOSE(loss, golden.At("negative_cosine"), 1e-5);
  EXPECT_CLOSE(loss.mean(), golden.At("negative_cosine.mean"), 1e-5);
  loss.mean().backward();
  EXPECT_CLOSE(a.grad(), golden.At("negative_cosine.grad_a"), 1e-4);
  EXPECT_CLOSE(b.grad(), golden.At("negative_cosine.grad_b"), 1e-4);
}

void ExpectHead(Head head, const std::string& name) {
  const WeightMap golden = Golden("ssl/heads");
  const WeightMap weights = golden.WithPrefixRemoved(name + ".");
  WeightReader reader(weights);
  LoadWeights(ListWeights(head), reader);
  reader.Finish();
  SetRequiresGrad(ListWeights(head), true);
  const Tensor& x = golden.At(name + ":x");
  const Tensor y = ForwardHead(head, x, /*training=*/true);
  EXPECT_CLOSE(y, golden.At(name + ":trained"), 1e-5);
  (y * golden.At(name + ":factor")).sum().backward();
  EXPECT_CLOSE(head.layers[0].fc.weight.grad(), golden.At(name + ":grad"), 1e-4);
  EXPECT_CLOSE(ForwardHead(head, x, /*training=*/false), golden.At(name + ":frozen"), 1e-5);
}

TEST(HeadsGolden, SameAsLightly) {
  ExpectHead(MocoV2Projector(12, 10, 6), "moco_v2");
  ExpectHead(SimClrProjector(12, 10, 6), "simclr");
  ExpectHead(SimSiamProjector(12, 10, 6), "simsiam");
  ExpectHead(SimSiamPredictor(6, 4), "predictor");
}

TEST(MethodsGolden, MocoV2ThreeSteps) {
  MocoV2 method({.temperature = 0.2, .queue = 16, .momentum = 0.9, .output = 6}, TinyResnet(), Seed(0));
  Training training("ssl/moco_v2", method);
  training.Run(0.06, 0.06);
  training.ExpectEnd(1e-5);
}

TEST(MethodsGolden, SimSiamThreeSteps) {
  SimSiam method({.kind = MethodKind::kSimSiam, .output = 12, .predictor = 4}, TinyResnet(), Seed(0));
  Training training("ssl/simsiam", method);
  training.Run(0.02, 0.05);
  training.ExpectEnd(1e-5);
}

}  // namespace
}  // namespace genview
