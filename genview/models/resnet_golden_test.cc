// ResNets against torchvision, in both modes; see tests/golden/make_models.py.
#include "genview/models/resnet.h"

#include "tests/golden/compare.h"

namespace genview {
namespace {

struct Case {
  const char* name;
  ResnetConfig config;
};
const Case kCases[] = {{"models/resnet18", {.depth = 18, .width = 3.0 / 64}},
                       {"models/resnet18_small", {.depth = 18, .width = 3.0 / 64, .small_stem = true}},
                       {"models/resnet50", {.depth = 50, .width = 2.0 / 64}}};

Resnet Load(const WeightMap& golden, const ResnetConfig& config) {
  Resnet net = MakeResnet(config);
  const WeightMap weights = golden.WithPrefixRemoved("weights.");
  WeightReader reader(weights);
  LoadWeights(ListWeights(net), reader);
  reader.Finish();
  return net;
}

TEST(ResnetGolden, InferenceIsTorchvisions) {
  for (const Case& c : kCases) {
    const WeightMap golden = Golden(c.name);
    Resnet net = Load(golden, c.config);
    const ResnetOutput out = ForwardResnet(net, golden.At("pixels").to(at::kFloat), /*training=*/false);
    EXPECT_CLOSE(out.pooled, golden.At("pooled"), 2e-5) << c.name;  // an epsilon of 1e-6 in place of 1e-5 makes 4e-5
    EXPECT_CLOSE(out.map, golden.At("map"), 2e-5) << c.name;
  }
}

TEST(ResnetGolden, ChannelsLastGivesTheSame) {
  const WeightMap golden = Golden("models/resnet50");
  Resnet net = Load(golden, kCases[2].config);
  UseChannelsLast(ListWeights(net));
  const Tensor pixels = golden.At("pixels").to(at::kFloat).contiguous(at::MemoryFormat::ChannelsLast);
  const ResnetOutput out = ForwardResnet(net, pixels, /*training=*/false);
  EXPECT_TRUE(out.map.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_CLOSE(out.pooled, golden.At("pooled"), 1e-4);
}

TEST(ResnetGolden, TrainingGivesTorchvisionsGradientsAndStatistics) {
  for (const Case& c : kCases) {
    const WeightMap golden = Golden(c.name);
    Resnet net = Load(golden, c.config);
    const WeightList list = ListWeights(net);
    SetRequiresGrad(list, true);
    const ResnetOutput out = ForwardResnet(net, golden.At("pixels").to(at::kFloat), /*training=*/true);
    EXPECT_CLOSE(out.pooled, golden.At("trained"), 1e-4) << c.name;
    (out.pooled * golden.At("factor")).sum().backward();
    int gradients = 0, statistics = 0;
    for (const WeightRef& ref : list) {
      if (golden.Has("grad." + ref.name)) {
        EXPECT_CLOSE(ref.tensor->grad(), golden.At("grad." + ref.name), 2e-4) << c.name << " " << ref.name;
        ++gradients;
      }
      if (ref.role == WeightRole::kBuffer) {
        EXPECT_CLOSE(*ref.tensor, golden.At("after." + ref.name), 1e-4) << c.name << " " << ref.name;
        ++statistics;
      }
    }
    EXPECT_EQ(gradients, 6);
    EXPECT_GE(statistics, 3 * 20);
  }
}

}  // namespace
}  // namespace genview
